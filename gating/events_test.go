package gating

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNamespacesTakeTurnsWithTheirEvents(t *testing.T) {
	h := NewAnnouncer(nil)
	announce := func(namespace, note string) {
		h.Announce(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}, "Normal", "R", "A", note)
	}
	for i := range maxEventsPerNamespace + 50 {
		announce("storm", fmt.Sprint(i))
	}
	announce("quiet", "a")
	announce("quiet", "b")
	var got []string
	for a, found := h.queue.next(); found; a, found = h.queue.next() {
		got = append(got, a.about.Namespace+"/"+a.note)
	}
	want := []string{"storm/0", "quiet/a", "storm/1", "quiet/b", "storm/2"}
	if d := cmp.Diff(want, got[:len(want)]); d != "" {
		t.Error(d)
	}
	if got := len(got); got != maxEventsPerNamespace+2 {
		t.Errorf("%d Events were queued, want those of quiet and %d of storm", got, maxEventsPerNamespace)
	}
}

func TestTheQueueOfEventsIsBounded(t *testing.T) {
	h := NewAnnouncer(nil)
	for i := range maxEvents + 10 {
		namespace := fmt.Sprint(i % (maxEvents/maxEventsPerNamespace + 5))
		h.Announce(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace}}, "Normal", "R", "A", "n")
	}
	if h.queue.waiting != maxEvents {
		t.Errorf("%d Events wait, want %d", h.queue.waiting, maxEvents)
	}
}
