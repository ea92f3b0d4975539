package exporter

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// manyZones returns the names of zones: Z00, Z01, and so on.
func manyZones(n int) []string {
	zones := make([]string, n)
	for i := range zones {
		zones[i] = fmt.Sprintf("Z%02d", i)
	}
	return zones
}

func loginPage(w http.ResponseWriter, _ *http.Request) bool {
	_, err := w.Write([]byte("<html>log in</html>"))
	return err == nil
}

func TestAProviderThatDoesNotAnswerIsAskedLessAndLess(t *testing.T) {
	for name, tt := range map[string]struct {
		fail     func(http.ResponseWriter, *http.Request) bool
		perRound int // requests: up to 3 zones, with 4 attempts each
	}{
		"a server that is down":          {status(503, "request"), 12},
		"a server that wants a pause":    {status(429, "request"), 4},
		"a server that refuses requests": {status(400, "request"), 3},
		"a page of HTML":                 {loginPage, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w, g, a := newTry(t, manyZones(64)...)
			g.past = day
			w.runUntil(a, start().Add(9*time.Minute))
			g.asked()
			before := len(w.writes)
			g.setFail(tt.fail)
			const first, later = 9, 1 // rounds in an hour
			for hours, most := 0, first; hours < 8; hours, most = hours+1, later {
				w.runUntil(a, w.clock.Now().Add(hour))
				if got := len(g.asked()); got > most*tt.perRound {
					t.Errorf("%d requests in hour %d, want at most %d", got, hours, most*tt.perRound)
				}
			}
			if got := w.writes[before:]; len(got) > 2 {
				t.Errorf("8 hours of failures lead to the writes %v", got)
			}
			g.setFail(nil)
			w.runUntil(a, w.clock.Now().Add(70*time.Minute))
			d := w.document()
			for zone, details := range d.Details {
				if age := w.clock.Now().Sub(d.Actuals[zone].End()); details.Problem != "" || age > 2*hour {
					t.Errorf("%s, an hour after the failure: problem %q, the newest value is %v old", zone, details.Problem, age)
				}
			}
		})
	}
}

func TestZonesThatWereNotAskedForHaveAProblemOnceNoZoneHasAnAnswer(t *testing.T) {
	for name, tt := range map[string]struct {
		code        int
		works       string // the only zone with an answer
		after, then string // what is wrong with zone I after one round, and after two
	}{
		"no zone has an answer":        {400, "", "", "the provider does not answer: 400 Bad Request"},
		"the first zone has an answer": {400, "A", "", `zone "I": GET URL/forecast: 400 Bad Request: the server says "broken `},
		"a zone of the second round":   {400, "D", "", `zone "I": GET URL/forecast: 400 Bad Request: the server says "broken `},
		"a server that wants a pause":  {429, "", "the provider does not answer: 429 Too Many Requests", "the provider does not answer: 429 Too Many Requests"},
	} {
		t.Run(name, func(t *testing.T) {
			w, g, a := newTry(t, "A", "B", "C", "D", "E", "F", "I")
			g.past = day
			w.runUntil(a, start().Add(9*time.Minute))
			g.setFail(func(w http.ResponseWriter, r *http.Request) bool {
				return r.URL.Query().Get("zone") != tt.works && status(tt.code, "broken")(w, r)
			})
			for i, want := range []string{tt.after, tt.then} {
				w.clock.SetTime(start().Add(15 * time.Minute).Add(time.Duration(i) * 2 * time.Minute))
				a.step(t.Context())
				want = strings.ReplaceAll(want, "URL", g.URL)
				if got := w.document().Details["I"].Problem; !strings.HasPrefix(got, want) || want == "" && got != "" {
					t.Errorf("after round %d, the problem is %q, want %q", i+1, got, want)
				}
			}
		})
	}
}
