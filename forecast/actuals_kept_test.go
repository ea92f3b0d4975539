package forecast

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// offerActuals offers a document with actual intensities of location A, and none if the series is nil.
func offerActuals(t *testing.T, store *Store, origin Origin, actuals *Series, now time.Time) {
	t.Helper()
	document := Document{Details: map[string]Details{"A": {Origin: origin}}}
	if actuals != nil {
		document.Actuals = map[string]*Series{"A": actuals}
	} else {
		document.Series = map[string]*Series{"A": NewSeries([]Slot{{now, now.Add(time.Hour), 300}})}
	}
	if err := store.Offer(Source{Name: "s"}, document, now); err != nil {
		t.Fatal(err)
	}
}

func TestTheActualIntensitiesAreWhatTheNewestDocumentSays(t *testing.T) {
	p, q := Origin{Provider: "P"}, Origin{Provider: "Q"}
	first := series(0, 300, 310, 320)
	for name, tt := range map[string]struct {
		origin Origin
		second *Series
		want   []Slot
	}{
		"a document without any keeps them":        {p, nil, first.Slots()},
		"a revision counts":                        {p, series(0, 300, 315, 320, 330), series(0, 300, 315, 320, 330).Slots()},
		"what is known of the time before is kept": {p, series(10, 325, 330), series(0, 300, 310, 325, 330).Slots()},
		"a value that is withdrawn is unknown":     {p, NewSeries([]Slot{slot(0, 5, 300), slot(10, 15, 320)}), []Slot{slot(0, 5, 300), slot(10, 15, 320)}},
		"zeros are not believed":                   {p, series(0, 0, 0, 0), first.Slots()},
		"a placeholder is not believed":            {p, series(0, 300, -999, 320), []Slot{slot(0, 5, 300), slot(10, 15, 320)}},
		"a slot that has not begun is no actual":   {p, series(0, 300, 310, 320, 330, 340, 350, 360), series(0, 300, 310, 320, 330, 340).Slots()},
		"another origin begins anew":               {q, series(10, 500, 510), series(10, 500, 510).Slots()},
		"another origin without any has none":      {q, nil, []Slot{}},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			offerActuals(t, &store, p, first, at(15))
			offerActuals(t, &store, tt.origin, tt.second, at(20))
			f, _ := store.Snapshot(Source{Name: "s"}).Forecast("A")
			if diff := cmp.Diff(tt.want, f.Actuals.Slots()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestActualIntensitiesAreKeptForEightWeeks(t *testing.T) {
	var store Store
	g := synthetic(6, 70, 0)
	for d := 1; d < 70; d++ {
		offerActuals(t, &store, Origin{}, g.between((d-1)*day, d*day), hr(d*day))
	}
	f, _ := store.Snapshot(Source{Name: "s"}).Forecast("A")
	if got := len(f.Actuals.Slots()); got < retentionHours || got > retentionHours+1 {
		t.Errorf("%d hours are kept, want %d", got, retentionHours)
	}
}

func TestActualIntensitiesShareTheMemoryOfTheDocument(t *testing.T) {
	var none *Series
	whole := synthetic(7, 30, 0).between(0, 30*day)
	if kept := none.revisedBy(whole, hr(30*day)); &kept.steps[0] != &whole.steps[0] {
		t.Error("the slots are copied")
	}
}

func TestASweepFromAnInstantIsAsOneFromTheBeginning(t *testing.T) {
	s := NewSeries([]Slot{slot(0, 5, 1), slot(5, 10, 2), slot(20, 25, 3), slot(25, 40, 4)})
	for from := -10; from < 50; from++ {
		sweep := s.SweepFrom(nanos(at(from)))
		for begin := from; begin < 45; begin += 3 {
			got, covered := sweep.Mean(nanos(at(begin)), nanos(at(begin+7)))
			if want, length := s.Mean(at(begin), at(begin+7)); got != want || covered != length {
				t.Fatalf("from %d, the window at %d has mean %v over %v, want %v over %v", from, begin, got, covered, want, length)
			}
		}
	}
}
