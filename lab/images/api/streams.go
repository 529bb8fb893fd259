package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"
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
	count, _ := io.Copy(io.Discard, r.Body) // who breaks off waits for no answer
	_, _ = fmt.Fprintln(w, count)
}

// events sends the time, once a second for a minute (text/event-stream of the HTML standard).
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for range 60 {
		_, _ = fmt.Fprintf(w, "data: %s\n\n", time.Now().UTC().Format(time.RFC3339))
		if http.NewResponseController(w).Flush() != nil || r.Context().Err() != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// echo is a WebSocket that sends back each message until the client closes it.
func echo(w http.ResponseWriter, r *http.Request) {
	connection, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	defer connection.CloseNow()
	for {
		kind, text, err := connection.Read(r.Context())
		if err != nil || connection.Write(r.Context(), kind, text) != nil {
			return
		}
	}
}

// health answers gRPC's question for health with SERVING, one message of two bytes (grpc.health.v1).
func health(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // who breaks off waits for no answer
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, 2), 0x08, 0x01))
	w.Header().Set("Grpc-Status", "0")
}
