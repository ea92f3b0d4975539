package forecast

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newDocument returns a document of one location.
func newDocument(when int, location string, s *Series) Document {
	return Document{Series: map[string]*Series{location: s}, Issued: at(when)}
}

func TestOffer(t *testing.T) {
	const older = `location "A": forecast from %s is older than the forecast in use, from 2026-03-31T00:30:00Z`
	first := series(30, 1, 2, 3, 4) // [30, 50)
	for name, tt := range map[string]struct {
		offered *Series
		now     int
		err     string
		want    []Slot
	}{
		"the same again": {first, 32, "", first.Slots()},
		"a newer one keeps the running slot, and the end": {series(35, 9), 32, "", []Slot{slot(30, 35, 1), slot(35, 40, 9), slot(40, 45, 3), slot(45, 50, 4)}},
		"a newer one with a gap":                          {NewSeries([]Slot{slot(30, 35, 9), slot(40, 45, 8)}), 32, "", []Slot{slot(30, 35, 9), slot(40, 45, 8), slot(45, 50, 4)}},
		"a newer one that ends sooner":                    {series(45, 9), 47, "", []Slot{slot(30, 35, 1), slot(35, 40, 2), slot(40, 45, 3), slot(45, 50, 9)}},
		"one that starts sooner in the same slot":         {series(26, 9), 32, "", []Slot{slot(26, 31, 9), slot(31, 35, 1), slot(35, 40, 2), slot(40, 45, 3), slot(45, 50, 4)}},
		"one that starts sooner and ends later":           {NewSeries([]Slot{slot(0, 5, 9), slot(5, 60, 8)}), 32, "", []Slot{slot(0, 5, 9), slot(5, 60, 8)}},
		"an older one":                                    {series(25, 9, 9), 32, fmt.Sprintf(older, "2026-03-31T00:25:00Z"), first.Slots()},
		"an older one that ends with the one in use":      {NewSeries([]Slot{slot(0, 5, 9), slot(5, 50, 8)}), 32, fmt.Sprintf(older, "2026-03-31T00:00:00Z"), first.Slots()},
		"an older one, before the one in use starts":      {series(20, 9), 22, fmt.Sprintf(older, "2026-03-31T00:20:00Z"), first.Slots()},
		"an older one when the one in use is over":        {series(20, 9), 50, "", append([]Slot{slot(20, 25, 9)}, first.Slots()...)},
		"an empty one":                                    {nil, 32, `location "A": forecast is empty`, first.Slots()},
		"an empty one when the one in use is over":        {nil, 99, `location "A": forecast is empty`, first.Slots()},
		"more than an hour of the past is not kept":       {series(100, 9), 100, "", []Slot{slot(40, 45, 3), slot(45, 50, 4), slot(100, 105, 9)}},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			if err := store.Offer(Source{Name: "s"}, newDocument(29, "A", first), at(29)); err != nil {
				t.Fatal(err)
			}
			before := store.Snapshot(Source{Name: "s"})
			err := store.Offer(Source{Name: "s"}, newDocument(31, "A", tt.offered), at(tt.now))
			got, _ := store.Snapshot(Source{Name: "s"}).Forecast("A")
			if diff := cmp.Diff(tt.want, got.Series.Slots()); diff != "" {
				t.Error(diff)
			}
			wantIssued := at(31)
			if tt.err != "" {
				wantIssued = at(29)
				if err == nil || err.Error() != tt.err || store.Snapshot(Source{Name: "s"}).Problem() != tt.err {
					t.Errorf("got error %v, problem %q, want %q", err, store.Snapshot(Source{Name: "s"}).Problem(), tt.err)
				}
			} else if err != nil || store.Snapshot(Source{Name: "s"}).Problem() != "" {
				t.Errorf("got error %v, problem %q", err, store.Snapshot(Source{Name: "s"}).Problem())
			}
			if got.Issued != wantIssued || got.Location != "A" {
				t.Errorf("got issued %v of %q, want %v of A", got.Issued, got.Location, wantIssued)
			}
			if f, _ := before.Forecast("A"); f.Issued != at(29) || f.Series.Start() != at(30) {
				t.Error("a snapshot handed out before has changed")
			}
		})
	}
}

func TestAForecastFromTheFutureKeepsNoCorrectOneOut(t *testing.T) {
	const hour, day = 60, 24 * 60
	for name, tt := range map[string]struct {
		first int // when the forecast in use starts
		wrong int
		err   string
	}{
		"a local time that is said to be UTC": {0, 2 * hour, ""},
		"the whole of the next day":           {0, 24 * hour, ""},
		"the wrong year":                      {0, 365 * day, `location "A": forecast from 2027-03-31T00:00:00Z starts more than two days from now, and the forecast in use covers now`},
		"the wrong year, when none is of now": {-9 * hour, 365 * day, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			offerAll(t, &store, newDocument(0, "A", even(at(tt.first), time.Hour, 1, 2, 3, 4)), at(0))
			err := store.Offer(Source{Name: "s"}, newDocument(1, "A", even(at(tt.wrong), time.Hour, 9, 9, 9, 9)), at(1))
			if tt.err == "" && err != nil || tt.err != "" && fmt.Sprint(err) != tt.err {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if got, ok := keptForecastOf(&store).Series.At(at(1)); ok != (tt.first == 0) || ok && got != 1 {
				t.Errorf("now is %v (%v)", got, ok)
			}
			correct := even(at(5), time.Hour, 5, 6, 7, 8)
			offerAll(t, &store, newDocument(5, "A", correct), at(5))
			if got := keptForecastOf(&store).Series.End(); got != correct.End() {
				t.Errorf("the forecast ends at %v, want %v", got, correct.End())
			}
			if got, ok := keptForecastOf(&store).Model.Predict(at(5), trust).Series.At(at(2*hour + 30)); !ok || math.Abs(got-7) > 1e-3 {
				t.Errorf("the model expects %v (%v), want 7", got, ok)
			}
		})
	}
}

func TestOfferComparesWithTheNewestForecastNotWithTheSplice(t *testing.T) {
	var store Store
	first, second := series(0, 1, 2, 3, 4), series(10, 8, 9)
	for _, s := range []*Series{first, second} {
		if err := store.Offer(Source{Name: "s"}, newDocument(0, "A", s), at(8)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Offer(Source{Name: "s"}, newDocument(0, "A", first), at(8)); err == nil {
		t.Error("the first forecast displaced the second, which starts later than the spliced series")
	}
}

func TestOfferGoesByLocation(t *testing.T) {
	var store Store
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(store.Offer(Source{Name: "s"}, Document{Series: map[string]*Series{"A": series(30, 1), "B": series(30, 1), "C": series(30, 1)}}, at(30)))
	err := store.Offer(Source{Name: "s"}, Document{
		Series:   map[string]*Series{"A": series(30, 2), "B": series(0, 2), "C": nil},
		Elements: 3, BadElements: 1, Problems: []string{"element 2: duration"},
	}, at(30))
	wantErr := `location "B": forecast from 2026-03-31T00:00:00Z is older than the forecast in use, from 2026-03-31T00:30:00Z` +
		"\n" + `location "C": forecast is empty`
	if diff := cmp.Diff(wantErr, fmt.Sprint(err)); diff != "" {
		t.Error(diff)
	}
	wantProblem := `1 of 3 elements is bad: element 2: duration; location "B": forecast from 2026-03-31T00:00:00Z is older ` +
		`than the forecast in use, from 2026-03-31T00:30:00Z; location "C": forecast is empty`
	if diff := cmp.Diff(wantProblem, store.Snapshot(Source{Name: "s"}).Problem()); diff != "" {
		t.Error(diff)
	}
	must(store.Offer(Source{Name: "s"}, newDocument(32, "D", series(30, 4)), at(32)))
	got := map[string]float64{}
	for _, location := range store.Snapshot(Source{Name: "s"}).Locations() {
		f, _ := store.Snapshot(Source{Name: "s"}).Forecast(location)
		got[location], _ = f.Series.At(at(30))
	}
	if diff := cmp.Diff(map[string]float64{"A": 2, "B": 1, "C": 1, "D": 4}, got); diff != "" {
		t.Error(diff)
	}
	if problem := store.Snapshot(Source{Name: "s"}).Problem(); problem != "" {
		t.Errorf("the problem outlives a good forecast: %s", problem)
	}
}

func TestASourceMayFailAndBeForgotten(t *testing.T) {
	var store Store
	if b := store.Snapshot(Source{Name: "s"}); b == nil || b.IsKnown() || b.Problem() != "" || b.Locations() != nil {
		t.Errorf("an unknown source has the snapshot %+v", b)
	}
	store.Fail(Source{Name: "s"}, errors.New("not found"))
	if b := store.Snapshot(Source{Name: "s"}); !b.IsKnown() || b.Problem() != "not found" || len(b.Locations()) != 0 {
		t.Errorf("a source that failed at once has the snapshot %+v", b)
	}
	if err := store.Offer(Source{Name: "s"}, newDocument(0, "A", series(0, 1)), at(0)); err != nil {
		t.Fatal(err)
	}
	store.Fail(Source{Name: "s"}, errors.New("not found"))
	if b := store.Snapshot(Source{Name: "s"}); b.Problem() != "not found" || !cmp.Equal(b.Locations(), []string{"A"}) {
		t.Errorf("a source that failed later has the snapshot %+v", b)
	}
	if err := store.Offer(Source{Name: "s"}, Document{}, at(0)); err == nil || store.Snapshot(Source{Name: "s"}).Problem() != err.Error() {
		t.Errorf("an empty forecast: got error %v, problem %q", err, store.Snapshot(Source{Name: "s"}).Problem())
	}
	if store.Snapshot(Source{Name: "other"}).IsKnown() {
		t.Error("sources are mixed up")
	}
	store.Forget(Source{Name: "s"})
	store.Forget(Source{Name: "never seen"})
	if b := store.Snapshot(Source{Name: "s"}); b.IsKnown() || len(b.Locations()) != 0 {
		t.Errorf("a forgotten source has the snapshot %+v", b)
	}
}

func TestASnapshotHasAForecastOnceOneIsAccepted(t *testing.T) {
	var store Store
	source := Source{Name: "s"}
	store.Fail(source, errors.New("it is missing"))
	if store.Snapshot(source).HasForecast() {
		t.Error("a source that failed has a forecast")
	}
	offerAll(t, &store, newDocument(0, "A", series(0, 1)), at(0))
	store.Fail(source, errors.New("it is missing"))
	if !store.Snapshot(source).HasForecast() {
		t.Error("the forecast is lost once the source fails")
	}
}

func TestSnapshotFindsTheForecast(t *testing.T) {
	var m Model
	m.Receive(series(-60, 1), at(-60))
	history := saveModel(t, &m)
	for name, tt := range map[string]struct {
		restored  []string
		documents [][]string
		ask       string
		want      string
		ok        bool
	}{
		"by its name":                            {nil, [][]string{{"A", "B"}}, "B", "B", true},
		"not by a name in another case":          {nil, [][]string{{"A", "B"}}, "b", "", false},
		"an unnamed one answers to any name":     {nil, [][]string{{""}}, "A", "", true},
		"not if there are others":                {nil, [][]string{{"", "B"}}, "A", "", false},
		"no name finds the only one":             {nil, [][]string{{"A"}}, "", "A", true},
		"no name finds none of several":          {nil, [][]string{{"A", "B"}}, "", "", false},
		"no name finds the unnamed of several":   {nil, [][]string{{"", "B"}}, "", "", true},
		"nothing in an empty snapshot":           {nil, nil, "", "", false},
		"another name finds not the only one":    {nil, [][]string{{"A"}}, "B", "", false},
		"no name finds the newest":               {nil, [][]string{{"A"}, {"B"}}, "", "B", true},
		"of several in the newest, none":         {nil, [][]string{{"A"}, {"B", "C"}}, "", "", false},
		"the newest that is named, now":          {nil, [][]string{{""}, {"A"}}, "", "A", true},
		"of several that are named, now, none":   {nil, [][]string{{""}, {"A", "B"}}, "", "", false},
		"the newest that is not named any more":  {nil, [][]string{{"A"}, {""}}, "A", "", true},
		"one that the newest forecast has not":   {nil, [][]string{{"A"}, {"B"}}, "A", "A", true},
		"beside what was restored, the newest":   {[]string{"A", "B", ""}, [][]string{{"B"}}, "", "B", true},
		"of what was restored, the only one":     {[]string{"A"}, nil, "", "A", true},
		"of several that were restored, none":    {[]string{"A", "B"}, nil, "", "", false},
		"of several that were restored, by name": {[]string{"A", "B"}, nil, "B", "B", true},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			for _, locations := range tt.documents {
				document := Document{Series: map[string]*Series{}, Issued: at(0)}
				for _, location := range locations {
					document.Series[location] = series(0, 1)
				}
				offerAll(t, &store, document, at(0))
			}
			for _, location := range tt.restored { // which may take longer
				if err := store.Restore(Source{Name: "s"}, location, Origin{}, history, at(0)); err != nil {
					t.Fatal(err)
				}
			}
			got, ok := store.Snapshot(Source{Name: "s"}).Forecast(tt.ask)
			if got.Location != tt.want || ok != tt.ok || ok != (got.Model != nil) || ok && got.Series.IsEmpty() == (tt.documents != nil) {
				t.Errorf("got %q, %v, want %q, %v", got.Location, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestWhatIsRefusedIsNotTheNewest(t *testing.T) {
	var store Store
	offerAll(t, &store, newDocument(0, "A", series(0, 1)), at(0))
	offerAll(t, &store, newDocument(0, "B", series(0, 1)), at(0))
	if err := store.Offer(Source{Name: "s"}, newDocument(1, "A", series(-60, 1)), at(1)); err == nil {
		t.Fatal("an older one is accepted")
	}
	if f, _ := store.Snapshot(Source{Name: "s"}).Forecast(""); f.Location != "B" {
		t.Errorf("got %q, want B", f.Location)
	}
}

func TestALocationIsKeptWhileItsPastIsUseful(t *testing.T) {
	var store Store
	offerAll(t, &store, Document{Series: map[string]*Series{"A": series(0, 1), "B": series(0, 1)}, Issued: at(0)}, at(0))
	model := keptForecastOf(&store).Model
	for _, day := range []int{1, 55} {
		now := at(day * 24 * 60)
		offerAll(t, &store, Document{Series: map[string]*Series{"B": even(now, time.Hour, 1)}, Issued: now}, now)
		if keptForecastOf(&store).Model != model {
			t.Fatalf("day %d: what was learned is lost", day)
		}
	}
	now := at(57 * 24 * 60)
	offerAll(t, &store, Document{Series: map[string]*Series{"B": even(now, time.Hour, 1)}, Issued: now}, now)
	if got := store.Snapshot(Source{Name: "s"}).Locations(); !cmp.Equal(got, []string{"B"}) {
		t.Errorf("the snapshot still has %q", got)
	}
}

// FuzzStore offers random series, in which each byte pair is a start and a length in slots, while
// readers read. An accepted series is kept to its end, a refused one changes nothing but
// the problem, only an empty
// series is refused once the one in use is over, and no reader ever sees a location without slots.
func FuzzStore(f *testing.F) {
	f.Add([]byte{0, 4, 1, 4, 0, 4, 9, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		var store Store
		var readers sync.WaitGroup
		done := make(chan struct{})
		for range 2 {
			readers.Go(func() { readUntil(t, done, &store) })
		}
		defer readers.Wait()
		defer close(done)
		for i := 0; i+1 < min(len(data), 200); i += 2 {
			start, slots := int(data[i]), flat(int(data[i+1]%32), 9)
			before, _ := store.Snapshot(Source{Name: "s"}).Forecast("A")
			offered, now := series(5*start, slots...), at(5*i)
			err := store.Offer(Source{Name: "s"}, newDocument(i, "A", offered), now)
			after, ok := store.Snapshot(Source{Name: "s"}).Forecast("A")
			before.Problem = after.Problem // which says why
			switch {
			case err != nil && after != before:
				t.Fatalf("refused (%v), but it has changed", err)
			case err == nil && (!ok || after.Series.End().Before(offered.End()) || after.Issued != at(i)):
				t.Fatal("accepted, but it is not there")
			case err != nil && !offered.IsEmpty() && !now.Before(before.Series.End()):
				t.Fatalf("refused, though the one in use is over: %v", err)
			}
		}
	})
}

// readUntil reads the snapshots of "s" until done, and checks that each is consistent.
func readUntil(t *testing.T, done <-chan struct{}, store *Store) {
	for {
		select {
		case <-done:
			return
		default:
			b := store.Snapshot(Source{Name: "s"})
			if f, ok := b.Forecast("A"); ok != (len(b.Locations()) == 1) || ok == f.Series.IsEmpty() {
				t.Errorf("a snapshot of %d locations has a forecast: %v", len(b.Locations()), ok)
			}
			time.Sleep(time.Microsecond)
		}
	}
}

func TestWritersTakeTurns(t *testing.T) {
	var store Store
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 50 {
				location := fmt.Sprintf("%d-%d", w, i)
				if err := store.Offer(Source{Name: "s"}, newDocument(0, location, series(0, 1)), at(0)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if n := len(store.Snapshot(Source{Name: "s"}).Locations()); n != 200 {
		t.Errorf("of 200 locations offered, %d are there", n)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	var store Store
	if err := store.Offer(Source{Name: "s"}, newDocument(0, "A", long()), at(0)); err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			store.Snapshot(Source{Name: "s"}).Forecast("A")
		}
	})
}
