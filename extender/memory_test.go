package extender

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

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

// TestWhatThereIsNoRoomForIsCounted has another large request give up behind one
// that is slow.
func TestWhatThereIsNoRoomForIsCounted(t *testing.T) {
	e := newExtender(Terms{})
	handler := e.Handler()
	large := func(body io.Reader) *http.Request {
		req := httptest.NewRequest(http.MethodPost, PrioritizePath, body)
		req.Header.Set("Content-Type", "application/json")
		return req
	}
	begun, end := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		handler.ServeHTTP(httptest.NewRecorder(), large(begun))
	}()
	if _, err := end.Write(make([]byte, intakeLimits().SmallBody+2)); err != nil { // the last byte is read with room for the rest
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, large(bytes.NewReader(make([]byte, intakeLimits().SmallBody+1))))
	if n := testutil.ToFloat64(e.Metrics.requests.WithLabelValues("prioritize", string(busy))); n != 1 || w.Code != http.StatusServiceUnavailable {
		t.Errorf("%v are counted, want 1; status %d", n, w.Code)
	}
	end.Close()
	<-done
}
