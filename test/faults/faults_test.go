// Package faults has one fault after the other happen to two replicas of the built program in the
// middle of a load, on a real cluster, and looks at what becomes of the work: nothing is lost, nothing is
// released twice, ordinary pods are never refused, and nothing is late by more than the fault explains.
//
// Three thousand held pods of many Jobs are there all the time. For each fault there are some
// hundred more, in waves that fall due before the fault, during it and after it. Ordinary pods, and
// pods that ask to wait, are created all the while. The first run has no fault: the others
// are compared with it, so that nothing depends on how fast the machine is.
package faults

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

var tablePath = flag.String("table", "", "a file for the table of results, in Markdown")

func TestMain(m *testing.M) {
	flag.Parse()
	log.SetLogger(logr.Discard()) // the API server's warnings, which faults provoke
	os.Exit(m.Run())
}

func TestNothingIsLostWhateverBreaksInTheMiddleOfALoad(t *testing.T) {
	s := newSuite(t)
	if err := s.fillStock(t.Context(), t); err != nil {
		t.Fatal(err)
	}
	none := fault{name: "none"}
	var err error
	if s.baseline, err = s.run(t.Context(), none); err != nil {
		t.Fatal(err)
	}
	t.Log(s.baseline)
	s.baseline.expect(t, none, s.baseline)
	results := []result{s.baseline}
	defer func() { report(t, results) }()
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			if err := s.check(t.Context()); err != nil {
				t.Fatal("before the fault:", err)
			}
			r, err := s.run(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, r)
			t.Log(r)
			r.expect(t, f, s.baseline)
		})
	}
	s.releaseStock(t)
}

// releaseStock has all that is left fall due at once: no fault has lost any of it.
func (s *suite) releaseStock(t *testing.T) {
	t.Helper()
	if err := s.check(t.Context()); err != nil {
		t.Fatal("after all faults:", err)
	}
	if err := s.cluster.Forecast(t.Context(), rising(time.Now())...); err != nil {
		t.Fatal(err)
	}
	if err := s.awaitReleased(t.Context(), stockNamespace); err != nil {
		t.Fatal(err)
	}
	if r := s.watcher.releases(stockNamespace, time.Time{}, time.Time{}); r.lost > 0 || r.twice > 0 {
		t.Errorf("of %d pods and Jobs that were held all the time, %d are not released, and %d were released twice", r.held, r.lost, r.twice)
	}
}

func report(t *testing.T, results []result) {
	t.Helper()
	text := table(results)
	fmt.Print("\n" + text + "\n")
	if *tablePath == "" {
		return
	}
	if err := os.WriteFile(*tablePath, []byte(text), 0o600); err != nil {
		t.Error(err)
	}
}
