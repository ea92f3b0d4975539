package extender

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestMemoryIsBounded sends what takes many times its length once it is decoded.
func TestMemoryIsBounded(t *testing.T) {
	const length = 2 << 20
	list := func(item string) string {
		return strings.Repeat(item+",", length/(len(item)+1)) + item
	}
	for name, body := range map[string]string{
		"names":          `{"Pod":{},"NodeNames":[` + list(`""`) + `]}`,
		"nodes":          `{"Pod":{},"Nodes":{"items":[` + list(`{"metadata":{"name":""}}`) + `]}}`,
		"owners":         `{"Pod":{"metadata":{"ownerReferences":[` + list(`{}`) + `]}}}`,
		"managed fields": `{"Pod":{"metadata":{"managedFields":[` + list(`{}`) + `]}}}`,
		"annotations":    `{"Pod":{"metadata":{"annotations":{` + list(`"":""`) + `}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			h := newExtender(Terms{}).Handler()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w := post(h, PrioritizePath, []byte(body))
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 32*length {
				t.Errorf("a body of %d MiB took %d MiB: status %d, %.100s", len(body)>>20, took>>20, w.Code, w.Body)
			}
		})
	}
}

// announce serves, and tells of each request when its body is first read.
func announce(t *testing.T, handler http.Handler) (server *httptest.Server, reading <-chan struct{}) {
	t.Helper()
	at := make(chan struct{}, 100)
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Body = &announced{ReadCloser: req.Body, at: at}
		handler.ServeHTTP(w, req)
	}))
	t.Cleanup(server.CloseClientConnections)
	return server, at
}

// begin sends the head of a request for a body that never comes.
func begin(t *testing.T, server *httptest.Server, head string) {
	t.Helper()
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	if _, err := fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n{", PrioritizePath, head); err != nil {
		t.Fatal(err)
	}
}

func TestSlowCallersTakeNoTurns(t *testing.T) {
	e := newExtender(Terms{})
	server, reading := announce(t, e.Handler())
	for range 3 * atOnce {
		begin(t, server, "Content-Length: 300000")
		<-reading
	}
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Post(server.URL+PrioritizePath, "application/json", bytes.NewReader(byName(t, "a")))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d", response.StatusCode)
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

// TestLargeBodiesComeOneAtATime has another give up behind one that is slow, and
// counts it.
func TestLargeBodiesComeOneAtATime(t *testing.T) {
	e := newExtender(Terms{})
	handler := e.Handler()
	server, reading := announce(t, handler)
	begin(t, server, fmt.Sprintf("Content-Length: %d", keptBody+1))
	<-reading
	response, err := http.Post(server.URL+PrioritizePath, "application/json", bytes.NewReader(make([]byte, keptBody+1)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d", response.StatusCode)
	}
	if n := testutil.ToFloat64(e.Metrics.requests.WithLabelValues("prioritize", string(busy))); n != 1 {
		t.Errorf("%v are counted, want 1", n)
	}
	small := post(handler, PrioritizePath, byName(t, "a"))
	if small.Code != http.StatusOK {
		t.Errorf("a small one: status %d", small.Code)
	}
}
