package exporter

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// setPage makes the provider of an asker give a part of the past in one request.
func setPage(t *testing.T, a *asker, page time.Duration) {
	t.Helper()
	a.findKey(t.Context())
	a.description.Page = page
}

func TestThePastIsAskedForInWholePages(t *testing.T) {
	for name, tt := range map[string]struct {
		page time.Duration
		want []time.Duration // how long the parts are
	}{
		"a page of a week":            {7 * day, []time.Duration{14 * day, 14 * day, 14 * day, 14 * day}},
		"a page of thirteen days":     {13 * day, []time.Duration{26 * day, 26 * day, 4*day + hour}},
		"a page of thirty days":       {30 * day, []time.Duration{30 * day, 26*day + hour}},
		"a page of eight weeks":       {56 * day, []time.Duration{56 * day}},
		"a page of a year":            {366 * day, []time.Duration{56*day + hour}},
		"a provider without any page": {0, []time.Duration{14 * day, 14 * day, 14 * day, 14 * day}},
	} {
		t.Run(name, func(t *testing.T) {
			w, g, a := newTry(t, "DE")
			setPage(t, a, tt.page)
			var got []time.Duration
			end := start().Truncate(hour).Add(hour)
			g.setFail(func(_ http.ResponseWriter, r *http.Request) bool {
				if from, err := time.Parse(time.RFC3339, r.URL.Query().Get("from")); err == nil {
					got, end = append(got, end.Sub(from)), from
				}
				return false
			})
			w.runUntil(a, start().Add(9*time.Minute))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnEmptyPartOfThePastKeepsNoOlderPartFromBeingAskedFor(t *testing.T) {
	for name, tt := range map[string]struct{ newest, oldest time.Duration }{
		"the newest part is empty":         {0, 13 * day},
		"a part in the middle is empty":    {15 * day, 27 * day},
		"all but the oldest part is empty": {0, 41 * day},
	} {
		t.Run(name, func(t *testing.T) {
			w, g, a := newTry(t, "DE")
			setPage(t, a, 14*day)
			g.setFail(func(w http.ResponseWriter, r *http.Request) bool {
				to, err := time.Parse(time.RFC3339, r.URL.Query().Get("to"))
				isEmpty := err == nil && !to.After(start().Add(hour-tt.newest)) && to.After(start().Add(-tt.oldest))
				if isEmpty {
					_, err = w.Write([]byte("[]"))
				}
				return isEmpty && err == nil
			})
			w.runUntil(a, start().Add(9*time.Minute))
			d := w.document()
			if got, ok := d.Actuals["DE"].At(start().Add(-50 * day)); !ok || got != intensity(start().Add(-50*day)) {
				t.Errorf("50 days ago the intensity was %v, want %v", got, intensity(start().Add(-50*day)))
			}
			if d.Message != "" {
				t.Errorf("message %q", d.Message)
			}
		})
	}
}

func TestAPastThatIsEmptyIsAskedForAgain(t *testing.T) {
	w, g, a := newTry(t, "DE")
	g.setFail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/past" {
			return false
		}
		_, err := w.Write([]byte("[]"))
		return err == nil
	})
	w.runUntil(a, start().Add(8*hour))
	if got, want := w.message(), `zone "DE": no usable value: an empty array`; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if got := count(g.asked(), "past"); got > 16 {
		t.Errorf("asked for the past %d times in 8 hours", got)
	}
	g.setFail(nil)
	w.runUntil(a, start().Add(10*hour))
	if d := w.document(); d.Actuals["DE"].IsEmpty() || d.Message != "" {
		t.Errorf("the past is known: %v, message %q", !d.Actuals["DE"].IsEmpty(), d.Message)
	}
}
