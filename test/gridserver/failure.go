package gridserver

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Failure writes an answer that is of no use to a client, and returns true; or it returns false, and
// the server goes on.
type Failure func(w http.ResponseWriter, r *http.Request) bool

// Unavailable answers that the server is overloaded.
func Unavailable(w http.ResponseWriter, _ *http.Request) bool {
	refuse(w, http.StatusServiceUnavailable, "try again later")
	return true
}

// AskedTooOften answers that the client is to wait.
func AskedTooOften(pause time.Duration) Failure {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", strconv.Itoa(int(pause.Seconds())))
		refuse(w, http.StatusTooManyRequests, "rate limit exceeded")
		return true
	}
}

// Gone breaks the connection, as if there were no server.
func Gone(w http.ResponseWriter, _ *http.Request) bool {
	if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = connection.Close() // nobody reads on
	}
	return true
}

// CutOff sends a part of the answer that it has announced.
func CutOff(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", "100000")
	fmt.Fprint(w, `{"unix_seconds":[1767225600,17672`)
	return true
}

// Garbled sends JSON that ends too early.
func Garbled(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"unix_seconds":[1767225600,17672`)
	return true
}

// Page sends a page for people, as a log-in page in between does.
func Page(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, "<!DOCTYPE html><html><body>Please log in.</body></html>")
	return true
}

// Slow waits before the server answers.
func Slow(pause time.Duration) Failure {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		wait(r.Context(), pause)
		return false
	}
}

// At fails where the path of the request has a part, such as "forecast".
func At(part string, failure Failure) Failure {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.Contains(r.URL.Path, part) && failure(w, r)
	}
}
