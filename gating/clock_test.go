package gating

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"
)

// answering answers every request with a time.
type answering string

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Header: http.Header{"Date": {string(a)}}}, nil
}

func TestTheClockOfTheAPIServerCountsIfOursLagsBehind(t *testing.T) {
	ours := time.Date(2026, 11, 26, 17, 0, 0, 0, time.UTC)
	answer := func(after time.Duration) string { return ours.Add(after).Format(http.TimeFormat) }
	tests := []struct {
		name    string
		answers []string
		pause   time.Duration // before each answer
		want    time.Duration // after our time
	}{
		{name: "no answer yet"},
		{name: "the clocks agree, and an answer takes a while", answers: []string{answer(-time.Second)}},
		{name: "ours is behind", answers: []string{answer(5 * time.Minute)}, want: 5 * time.Minute},
		{name: "ours is ahead", answers: []string{answer(-5 * time.Minute)}},
		{name: "one answer is slower than another", answers: []string{answer(5 * time.Minute), answer(5*time.Minute - 3*time.Second)}, want: 5 * time.Minute},
		{name: "ours was set right", pause: lagLifetime, answers: []string{answer(5 * time.Minute), answer(0), answer(0)}},
		{name: "an answer without a time", answers: []string{answer(time.Minute), "", "soon"}, want: time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			local := clocktesting.NewFakePassiveClock(ours)
			c := NewClock(local, prometheus.NewRegistry())
			for _, a := range test.answers {
				local.SetTime(local.Now().Add(test.pause))
				response, err := c.Follow(answering(a)).RoundTrip(nil) //nolint:bodyclose // there is none
				if err != nil || response == nil {
					t.Fatalf("answer %v, error %v", response, err)
				}
			}
			if got := c.Now().Sub(local.Now()); got != test.want {
				t.Errorf("the time is %v after ours, want %v", got, test.want)
			}
		})
	}
}
