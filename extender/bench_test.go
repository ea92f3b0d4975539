package extender

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// manyNodes is an extender that knows n nodes of three locations, and a request
// with their names, as long as those of a cloud are.
func manyNodes(tb testing.TB, n int) (*Extender, []byte) {
	var nodes []*metav1.PartialObjectMetadata
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i/250, i%250))
		nodes = append(nodes, at(names[i], string(rune('a'+i%3))))
	}
	day := make([]float64, 48)
	for i := range day {
		day[i] = float64(100 + i)
	}
	return newExtender(Terms{Policy: "p", Locations: []Location{grid("a", day...), grid("b", day...), grid("c", 500)}, Duration: time.Hour}, nodes...), byName(tb, names...)
}

func BenchmarkHandler(b *testing.B) {
	for _, n := range []int{100, 1000, 5000} {
		e, body := manyNodes(b, n)
		h := e.Handler()
		for _, path := range []string{PrioritizePath, FilterPath} {
			b.Run(fmt.Sprintf("%s/%d", path[1:], n), func(b *testing.B) {
				b.ReportAllocs()
				w := &discard{header: http.Header{}}
				for b.Loop() {
					req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
					req.Header.Set("Content-Type", "application/json")
					if h.ServeHTTP(w, req); w.code != 0 {
						b.Fatal(w.code)
					}
				}
			})
		}
	}
}

// discard keeps nothing of an answer but a status that was set.
type discard struct {
	header http.Header
	code   int
}

func (d *discard) Header() http.Header { return d.header }

func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func (d *discard) WriteHeader(code int) { d.code = code }

// BenchmarkNodeChange shows that a change of a node costs the same, however many
// there are.
func BenchmarkNodeChange(b *testing.B) {
	for _, n := range []int{100, 10000} {
		e, _ := manyNodes(b, n)
		points(b, e, "any") // so that there is a chart
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			here, there := at("moving", "a"), at("moving", "b")
			for b.Loop() {
				e.Nodes.OnUpdate(here, there)
				here, there = there, here
			}
		})
	}
}
