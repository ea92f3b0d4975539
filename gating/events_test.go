package gating

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
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

func TestEventsTellWhatBecameOfWork(t *testing.T) {
	work := func(state string, annotations map[string]string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Labels: map[string]string{v1alpha1.StateLabel: state}, Annotations: annotations}}
	}
	const wish, reason, outcome = v1alpha1.DelayTolerantAnnotation, v1alpha1.ReasonAnnotation, v1alpha1.OutcomeAnnotation
	notHeld := map[string]string{wish: "true", reason: "not held: it names its node", outcome: v1alpha1.OutcomeNotHeld}
	policy := &v1alpha1.CarbonPolicy{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	for name, tt := range map[string]struct {
		announce func(*Announcer)
		want     string
	}{
		"held":     {func(a *Announcer) { a.CreatedWork(work(v1alpha1.StateHeld, map[string]string{reason: "waits"})) }, "Normal CarbonHeld waits"},
		"not held": {func(a *Announcer) { a.CreatedWork(work(v1alpha1.StateReleased, notHeld)) }, "Normal CarbonNotHeld not held: it names its node"},
		"nothing, if the work starts as it asked to": {func(a *Announcer) {
			a.CreatedWork(work(v1alpha1.StateReleased, map[string]string{wish: "true", reason: "started"}))
		}, ""},
		"nothing, if the work did not ask": {func(a *Announcer) {
			a.CreatedWork(work("", map[string]string{reason: "r", outcome: v1alpha1.OutcomeNotHeld}))
		}, ""},
		"released": {func(a *Announcer) { a.ReleasedWork(work("", nil), "started: 100 %s") }, "Normal CarbonReleased started: 100 %s"},
		"released for no reason that anybody noted":    {func(a *Announcer) { a.ReleasedWork(work("", nil), "") }, "Normal CarbonReleased no reason is given"},
		"refused, in bounded words":                    {func(a *Announcer) { a.RefusedRelease(work("", nil), strings.Repeat("x", 5000)) }, "Warning CarbonReleaseRefused the API server refuses to release it, and Gridlatch will try again: xxx"},
		"that the forecast of a policy is in question": {func(a *Announcer) { a.DisbelievedForecast(policy, "zeros") }, "Warning ForecastNotBelieved zeros"},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(10)
			a := NewAnnouncer(recorder)
			tt.announce(a)
			a.Announce(work("", nil), "Normal", "Last", "A", "one") // what was announced before is there by now
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- a.Start(ctx) }()
			got := <-recorder.Events
			if tt.want == "" {
				tt.want = "Normal Last one"
			}
			if !strings.HasPrefix(got, tt.want) || len(got) > 1100 {
				t.Errorf("%q, want %q", got, tt.want)
			}
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEventsLeaveTheAPIServerToTheReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := events.NewFakeRecorder(1000)
		a := NewAnnouncer(recorder)
		for i := range 5 * eventsBurst {
			a.Announce(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint(i)}}, "Normal", "R", "A", "n")
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- a.Start(ctx) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := len(recorder.Events); n < eventsBurst+9*eventsPerSecond || n > eventsBurst+11*eventsPerSecond {
			t.Errorf("%d Events in ten seconds", n)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
