package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"
)

// What is no question with an answer: an upload, a stream of events, a WebSocket, and gRPC.
func streams(mux *http.ServeMux) {
	mux.HandleFunc("POST /upload", upload)
	mux.HandleFunc("GET /events", events)
	mux.HandleFunc("GET /echo", echo)
	mux.HandleFunc("POST /grpc.health.v1.Health/Check", health)
}

// upload counts the bytes of a body, and keeps none.
func upload(w http.ResponseWriter, r *http.Request) {
	count, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		log.Print("upload: ", err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintln(w, count)
}

// events sends the time, once a second for a minute (text/event-stream of the HTML standard).
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for range 60 {
		_, _ = fmt.Fprintf(w, "data: %s\n\n", time.Now().UTC().Format(time.RFC3339))
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// echo is a WebSocket that sends back each short text frame until the client closes it (RFC 6455).
func echo(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		http.Error(w, "a WebSocket is here", http.StatusUpgradeRequired)
		return
	}
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer connection.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, _ = fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	for buffered.Flush() == nil {
		kind, text, err := frame(buffered.Reader)
		if err != nil {
			return
		}
		_, _ = buffered.Write(append([]byte{0x80 | kind, byte(len(text))}, text...))
		if kind == 8 { // it closes
			_ = buffered.Flush()
			return
		}
	}
}

// frame reads a client's frame of at most 125 bytes: its kind and its text without the mask.
func frame(from *bufio.Reader) (byte, []byte, error) {
	var head [6]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, nil, err
	}
	size := head[1] & 0x7f
	if head[1]&0x80 == 0 || size > 125 {
		return 0, nil, fmt.Errorf("a frame of %d bytes, or without a mask", size)
	}
	text := make([]byte, size)
	_, err := io.ReadFull(from, text)
	for i := range text {
		text[i] ^= head[2+i%4]
	}
	return head[0] & 0xf, text, err
}

// health answers gRPC's question for health with SERVING, one message of two bytes (grpc.health.v1).
func health(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, 2), 0x08, 0x01))
	w.Header().Set("Grpc-Status", "0")
}
