package main

import (
	"bytes"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// fault is how this release is bad; the zero value is a good one.
type fault struct {
	start            time.Duration // DEMO_START_SECONDS: until it listens
	never            bool          // DEMO_READY=never
	failAfter, dieAt time.Duration // DEMO_FAIL_AFTER, DEMO_CRASH_AFTER: seconds of answering well, or of running; negative: for ever
	slow             time.Duration // DEMO_SLOW_MS: for each request
	leak             int           // DEMO_LEAK_MIB: kept at each request
	first            time.Time
	lock             sync.Mutex
	kept             [][]byte
}

// faults reads the switches. A value that is not a number is none.
func faults() *fault {
	return &fault{start: amount("DEMO_START_SECONDS", time.Second, 0), never: setting("DEMO_READY") == "never",
		failAfter: amount("DEMO_FAIL_AFTER", time.Second, -1), dieAt: amount("DEMO_CRASH_AFTER", time.Second, -1),
		slow: amount("DEMO_SLOW_MS", time.Millisecond, 0), leak: int(amount("DEMO_LEAK_MIB", 1, 0)), first: time.Now()}
}

func amount(name string, unit, none time.Duration) time.Duration {
	number, err := strconv.Atoi(setting(name))
	if err != nil {
		return none
	}
	return time.Duration(number) * unit
}

// atStart waits, and sets the time of the crash.
func (f *fault) atStart() {
	time.Sleep(f.start)
	if f.dieAt >= 0 {
		time.AfterFunc(f.dieAt, func() {
			log.Print("panic: assignment to entry in nil map")
			os.Exit(2)
		})
	}
}

func (f *fault) unready(next http.HandlerFunc) http.HandlerFunc {
	if !f.never {
		return next
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "warming up", http.StatusServiceUnavailable)
	}
}

func (f *fault) failing(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(f.slow)
		if f.leak > 0 {
			f.lock.Lock()
			f.kept = append(f.kept, bytes.Repeat([]byte{1}, f.leak<<20))
			f.lock.Unlock()
		}
		if f.failAfter >= 0 && time.Since(f.first) > f.failAfter {
			log.Print("error: relation \"visits\" has no column \"colour\"")
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		next(w, r)
	}
}
