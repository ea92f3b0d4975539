package serving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// few are limits that are easy to reach.
func few() Limits {
	return Limits{MaxBody: 1 << 20, Hint: "; send less", SmallBody: 1 << 10, SmallMemory: 64 << 10, LargeBodies: 1, Concurrency: 2}
}

// echo answers with what was sent, unless that is "wrong".
func echo(_ context.Context, body []byte, to *bytes.Buffer) error {
	if string(body) == "wrong" {
		return errors.New("want something else")
	}
	to.Write(body)
	return nil
}

func handler(i *Intake) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { _ = i.Serve(w, req, echo) })
}

func post(h http.Handler, body io.Reader) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/", body)
	req.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestWhatIsTakenIn(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, tt := range map[string]struct {
		method, kind, body string
		length             int64
		code               int
		want               string
	}{
		"a small body":                       {http.MethodPost, "application/json", "{}", 2, http.StatusOK, "{}"},
		"one of unknown length":              {http.MethodPost, "application/json; charset=utf-8", "{}", -1, http.StatusOK, "{}"},
		"one that is small by one byte":      {http.MethodPost, "application/json", long[:1<<10], 1 << 10, http.StatusOK, long[:1<<10]},
		"a large one":                        {http.MethodPost, "application/json", long, 1 << 20, http.StatusOK, long},
		"a large one of unknown length":      {http.MethodPost, "application/json", long, -1, http.StatusOK, long},
		"one that is too large":              {http.MethodPost, "application/json", "", 1<<20 + 1, http.StatusRequestEntityTooLarge, "at most 1 MiB; send less"},
		"one that turns out to be too large": {http.MethodPost, "application/json", long + "x", -1, http.StatusRequestEntityTooLarge, "at most 1 MiB"},
		"what the answer will not have":      {http.MethodPost, "application/json", "wrong", 5, http.StatusBadRequest, "want something else"},
		"another method":                     {http.MethodGet, "application/json", "", 0, http.StatusMethodNotAllowed, "want POST"},
		"another content":                    {http.MethodPost, "text/plain", "{}", 2, http.StatusUnsupportedMediaType, "want application/json"},
		"no content type":                    {http.MethodPost, "", "{}", 2, http.StatusUnsupportedMediaType, "want application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			i := NewIntake(few())
			for range 2 { // the second time in the memory of the first
				req := httptest.NewRequest(tt.method, "/", strings.NewReader(tt.body))
				req.ContentLength = tt.length
				req.Header.Set("Content-Type", tt.kind)
				w := httptest.NewRecorder()
				err := i.Serve(w, req, echo)
				if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) || (err == nil) != (tt.code == http.StatusOK) {
					t.Errorf("status %d, %v: %.200s", w.Code, err, w.Body)
				}
			}
		})
	}
}

// announced is a body that tells when it is first read.
type announced struct {
	io.ReadCloser
	at   chan<- struct{}
	once sync.Once
}

func (a *announced) Read(p []byte) (int, error) {
	a.once.Do(func() { a.at <- struct{}{} })
	return a.ReadCloser.Read(p)
}

// slow begins requests whose bodies do not end, one for each length that they
// claim, and returns when they are read.
func slow(t *testing.T, h http.Handler, lengths ...int) *httptest.Server {
	t.Helper()
	reading := make(chan struct{}, len(lengths))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Body = &announced{ReadCloser: req.Body, at: reading}
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(server.CloseClientConnections)
	for _, length := range lengths {
		connection, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() })
		if _, err := fmt.Fprintf(connection, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{", length); err != nil {
			t.Fatal(err)
		}
		<-reading
	}
	return server
}

func TestSlowCallersTakeNoTurnAndNoLargeBody(t *testing.T) {
	h := handler(NewIntake(few()))
	slow(t, h, 1000, 1000, 1000, 1<<20, 1<<20, 1<<20)
	for what, length := range map[string]int{"small": 100, "large": 1 << 19} {
		if w := post(h, strings.NewReader(strings.Repeat("x", length))); w.Code != http.StatusOK {
			t.Errorf("a %s request behind slow ones: status %d", what, w.Code)
		}
	}
}

func TestLargeBodiesComeSomeAtATime(t *testing.T) {
	h := handler(NewIntake(few()))
	begun, end := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		post(h, begun)
	}()
	if _, err := end.Write(make([]byte, few().SmallBody+2)); err != nil { // the last byte is read as part of a large one
		t.Fatal(err)
	}
	if w := post(h, bytes.NewReader(make([]byte, few().SmallBody+1))); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a large one beside a large one: status %d", w.Code)
	}
	if w := post(h, strings.NewReader("{}")); w.Code != http.StatusOK {
		t.Errorf("a small one beside a large one: status %d", w.Code)
	}
	end.Close()
	<-done
	if w := post(h, bytes.NewReader(make([]byte, few().SmallBody+1))); w.Code != http.StatusOK {
		t.Errorf("a large one behind a large one: status %d", w.Code)
	}
}

func TestRoomIsBounded(t *testing.T) {
	limits := few()
	limits.SmallMemory = 2 * limits.SmallBody
	h := handler(NewIntake(limits))
	slow(t, h, int(limits.SmallBody), 1<<20)
	if w := post(h, strings.NewReader("{}")); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without room: status %d", w.Code)
	}
}

// TestASlowBodyIsGivenUp has the server close what does not come in.
func TestASlowBodyIsGivenUp(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(nil)
	server.Config = NewServer(handler(NewIntake(few())))
	server.Start()
	t.Cleanup(server.Close)
	if p := server.Config.Protocols; p.HTTP2() || !p.HTTP1() {
		t.Errorf("protocols: %v", p)
	}
	for name, sent := range map[string]string{
		"nothing": "", "half a head": "POST / HTTP/1.1\r\nHost: x\r\n",
		"half a body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connection, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer connection.Close()
			if _, err := io.WriteString(connection, sent); err != nil {
				t.Fatal(err)
			}
			_ = connection.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(io.Discard, connection); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				t.Error("it is still open")
			}
		})
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
