package forecast

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// keptForecastOf returns the forecast of location A of the source s.
func keptForecastOf(store *Store) Forecast {
	f, _ := store.Snapshot(Source{Name: "s"}).Forecast("A")
	return f
}

func TestALocationKeepsItsModel(t *testing.T) {
	var store Store
	if err := store.Offer(Source{Name: "s"}, newDocument(0, "A", series(0, 1, 2, 3)), at(0)); err != nil {
		t.Fatal(err)
	}
	model := keptForecastOf(&store).Model
	for i, tt := range []struct {
		offered  *Series
		received bool
	}{{series(5, 7, 8, 9, 10), true}, {series(0, 1), false}, {nil, false}, {series(10, 7, 8, 9, 11), true}} {
		before := model.received
		err := store.Offer(Source{Name: "s"}, newDocument(5+i, "A", tt.offered), at(5+i))
		if (err == nil) != tt.received || model.received.Equal(before) == tt.received {
			t.Errorf("offer %d: the error is %v, and the model received at %v", i, err, model.received)
		}
		if keptForecastOf(&store).Model != model {
			t.Fatalf("offer %d brings another model", i)
		}
	}
	if err := store.Offer(Source{Name: "s"}, newDocument(20, "B", series(15, 1)), at(20)); err != nil {
		t.Fatal(err)
	}
	if b, _ := store.Snapshot(Source{Name: "s"}).Forecast("B"); b.Model == model || b.Model == nil {
		t.Error("two locations share a model, or one has none")
	}
	store.Forget(Source{Name: "s"})
	if err := store.Offer(Source{Name: "s"}, newDocument(20, "A", series(15, 1)), at(20)); err != nil || keptForecastOf(&store).Model == model {
		t.Errorf("a model outlives its source (%v)", err)
	}
}

func TestAForecastIsReceivedWhenItWasIssued(t *testing.T) {
	for name, tt := range map[string]struct{ issued, want time.Time }{
		"as it says":                    {at(3), at(3)},
		"now, if it does not say":       {time.Time{}, at(10)},
		"now, if that is in the future": {at(11), at(10)},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			if err := store.Offer(Source{Name: "s"}, Document{Series: map[string]*Series{"A": series(0, 1, 2, 3)}, Issued: tt.issued}, at(10)); err != nil {
				t.Fatal(err)
			}
			if got := keptForecastOf(&store).Model.received; got != tt.want {
				t.Errorf("it was received at %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAModelReceivesForecastsAfterAClockWasWrong(t *testing.T) {
	g, back := synthetic(13, 40, 30), hr(30*day+12)
	last := even(back, time.Hour, flat(48, 123)...)
	for name, tt := range map[string]struct {
		ahead    time.Duration
		received bool // a forecast meanwhile, rather than only a question
		learned  time.Duration
	}{
		"not at all":       {0, true, 29 * day * time.Hour},
		"ten days ahead":   {10 * day * time.Hour, true, 28 * day * time.Hour},
		"nor did any come": {10 * day * time.Hour, false, 28 * day * time.Hour},
		"ahead of all":     {365 * day * time.Hour, true, 0},
		"far behind":       {-60 * day * time.Hour, true, 28 * day * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			for _, i := range g.forecasts[:30] {
				offerAll(t, &store, Document{Series: map[string]*Series{"A": i.series}}, i.received)
			}
			wrong := hr(30 * day).Add(tt.ahead)
			if tt.received {
				offerAll(t, &store, Document{Series: map[string]*Series{"A": g.forecasts[30].series}}, wrong)
			}
			keptForecastOf(&store).Model.Predict(wrong, trust)
			offerAll(t, &store, Document{Series: map[string]*Series{"A": last}}, back)
			m := keptForecastOf(&store).Model
			if p := m.Predict(back, trust); !m.received.Equal(back) || m.gauge.measuredUntil.After(back) || p.Basis != BasisForecast || p.LearnedTime < tt.learned {
				t.Errorf("it was received at %v, seen until %v, and the basis is %s, learned from %v", m.received, m.gauge.measuredUntil, p.Basis, p.LearnedTime)
			}
			var told Model
			if err := told.Restore(saveModel(t, m), back); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAStoreRestores(t *testing.T) {
	var m Model
	now := afterActuals(10*day, 10*day)(&m)
	data, offer := saveModel(t, &m), Document{Series: map[string]*Series{"A": even(now, time.Hour, 9, 8, 7)}, Issued: now}
	for name, offers := range map[string][2]bool{
		"before the first offer": {false, true}, "after it": {true, false}, "without any": {}, "between two": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			offered := func(wanted bool) {
				if wanted {
					if err := store.Offer(Source{Name: "s"}, offer, now); err != nil {
						t.Fatal(err)
					}
				}
			}
			offered(offers[0])
			before := keptForecastOf(&store).Model
			if err := store.Restore(Source{Name: "s"}, "A", Origin{}, data, now); err != nil {
				t.Fatal(err)
			}
			f := keptForecastOf(&store)
			if before != nil && f.Model != before || f.Model == nil || f.Location != "A" || f.Series.IsEmpty() == offers[0] {
				t.Errorf("it holds %+v", f)
			}
			if store.Snapshot(Source{Name: "s"}).IsKnown() != offers[0] {
				t.Error("what is restored makes a source known")
			}
			offered(offers[1])
			if p := keptForecastOf(&store).Model.Predict(now, trust); keptForecastOf(&store).Model != f.Model || p.LearnedTime < 9*day*time.Hour {
				t.Errorf("it has learned from %v", p.LearnedTime)
			}
		})
	}
	t.Run("nothing from what is damaged", func(t *testing.T) {
		var store Store
		if err := store.Restore(Source{Name: "s"}, "A", Origin{}, data[:99], now); err == nil || len(store.Snapshot(Source{Name: "s"}).Locations()) != 0 {
			t.Errorf("the error is %v, and it holds %v", err, store.Snapshot(Source{Name: "s"}).Locations())
		}
		offerAll(t, &store, offer, now)
		was := bits(keptForecastOf(&store).Model.Predict(now, trust))
		if err := store.Restore(Source{Name: "s"}, "A", Origin{}, data[:99], now); err == nil || fmt.Sprint(bits(keptForecastOf(&store).Model.Predict(now, trust))) != fmt.Sprint(was) {
			t.Errorf("the error is %v, and the model may have changed", err)
		}
	})
}

func offerAll(t *testing.T, store *Store, document Document, now time.Time) {
	t.Helper()
	if err := store.Offer(Source{Name: "s"}, document, now); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreIsRestoredWhileItIsUsed(t *testing.T) {
	var m Model
	now := afterActuals(5*day, 5*day)(&m)
	data := saveModel(t, &m)
	var store Store
	var users sync.WaitGroup
	for _, use := range []func(n int){
		func(int) {
			if err := store.Restore(Source{Name: "s"}, "A", Origin{}, data, now); err != nil {
				t.Error(err)
			}
		},
		func(n int) {
			offerAll(t, &store, Document{Series: map[string]*Series{"A": even(now, time.Hour, float64(n), 8, 7), "B": series(0, 1)}, Issued: now}, now)
		},
		func(int) {
			for _, location := range store.Snapshot(Source{Name: "s"}).Locations() {
				if f, ok := store.Snapshot(Source{Name: "s"}).Forecast(location); ok {
					checkSane(t, f.Model.Predict(now, trust), now)
				}
			}
		},
	} {
		users.Go(func() {
			for n := range 20 {
				use(n)
			}
		})
	}
	users.Wait()
}
