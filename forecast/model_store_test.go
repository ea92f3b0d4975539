package forecast

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// held is the forecast of location A of the source s.
func held(store *Store) Forecast {
	f, _ := store.Snapshot(Source{Name: "s"}).Forecast("A")
	return f
}

func TestALocationKeepsItsModel(t *testing.T) {
	var store Store
	if err := store.Offer(Source{Name: "s"}, issued(0, "A", series(0, 1, 2, 3)), at(0)); err != nil {
		t.Fatal(err)
	}
	model := held(&store).Model
	for i, tt := range []struct {
		offered *Series
		heard   bool
	}{{series(5, 7, 8, 9, 10), true}, {series(0, 1), false}, {nil, false}, {series(10, 7, 8, 9, 11), true}} {
		before := model.received
		err := store.Offer(Source{Name: "s"}, issued(5+i, "A", tt.offered), at(5+i))
		if (err == nil) != tt.heard || model.received.Equal(before) == tt.heard {
			t.Errorf("offer %d: the error is %v, and the model heard at %v", i, err, model.received)
		}
		if held(&store).Model != model {
			t.Fatalf("offer %d brings another model", i)
		}
	}
	if err := store.Offer(Source{Name: "s"}, issued(20, "B", series(15, 1)), at(20)); err != nil {
		t.Fatal(err)
	}
	if b, _ := store.Snapshot(Source{Name: "s"}).Forecast("B"); b.Model == model || b.Model == nil {
		t.Error("two locations share a model, or one has none")
	}
	store.Forget(Source{Name: "s"})
	if err := store.Offer(Source{Name: "s"}, issued(20, "A", series(15, 1)), at(20)); err != nil || held(&store).Model == model {
		t.Errorf("a model outlives its source (%v)", err)
	}
}

func TestAnIssueIsHeardWhenItWasIssued(t *testing.T) {
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
			if got := held(&store).Model.received; got != tt.want {
				t.Errorf("it was heard at %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAClockThatWasWrongLeavesNoModelDeaf(t *testing.T) {
	g, back := synthetic(13, 40, 30), hr(30*day+12)
	last := even(back, time.Hour, flat(48, 123)...)
	for name, tt := range map[string]struct {
		ahead   time.Duration
		heard   bool // an issue meanwhile, rather than having been asked only
		learned time.Duration
	}{
		"not at all":       {0, true, 29 * day * time.Hour},
		"ten days ahead":   {10 * day * time.Hour, true, 28 * day * time.Hour},
		"nor did any come": {10 * day * time.Hour, false, 28 * day * time.Hour},
		"ahead of all":     {365 * day * time.Hour, true, 0},
		"far behind":       {-60 * day * time.Hour, true, 28 * day * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			for _, i := range g.issues[:30] {
				offerAll(t, &store, Document{Series: map[string]*Series{"A": i.series}}, i.received)
			}
			wrong := hr(30 * day).Add(tt.ahead)
			if tt.heard {
				offerAll(t, &store, Document{Series: map[string]*Series{"A": g.issues[30].series}}, wrong)
			}
			held(&store).Model.Predict(wrong, trust)
			offerAll(t, &store, Document{Series: map[string]*Series{"A": last}}, back)
			m := held(&store).Model
			if p := m.Predict(back, trust); !m.received.Equal(back) || m.gauge.seen.After(back) || p.Basis != Fresh || p.Learned < tt.learned {
				t.Errorf("it was heard at %v, seen until %v, and the basis is %s, learned from %v", m.received, m.gauge.seen, p.Basis, p.Learned)
			}
			var told Model
			if err := told.Restore(saved(t, m), back); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAStoreRestores(t *testing.T) {
	var m Model
	now := told(10*day, 10*day)(&m)
	data, offer := saved(t, &m), Document{Series: map[string]*Series{"A": even(now, time.Hour, 9, 8, 7)}, Issued: now}
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
			before := held(&store).Model
			if err := store.Restore(Source{Name: "s"}, "A", data, now); err != nil {
				t.Fatal(err)
			}
			f := held(&store)
			if before != nil && f.Model != before || f.Model == nil || f.Location != "A" || f.Series.Empty() == offers[0] {
				t.Errorf("it holds %+v", f)
			}
			if store.Snapshot(Source{Name: "s"}).IsKnown() != offers[0] {
				t.Error("what is restored makes a source known")
			}
			offered(offers[1])
			if p := held(&store).Model.Predict(now, trust); held(&store).Model != f.Model || p.Learned < 9*day*time.Hour {
				t.Errorf("it has learned from %v", p.Learned)
			}
		})
	}
	t.Run("nothing from what is damaged", func(t *testing.T) {
		var store Store
		if err := store.Restore(Source{Name: "s"}, "A", data[:99], now); err == nil || len(store.Snapshot(Source{Name: "s"}).Locations()) != 0 {
			t.Errorf("the error is %v, and it holds %v", err, store.Snapshot(Source{Name: "s"}).Locations())
		}
		offerAll(t, &store, offer, now)
		was := bits(held(&store).Model.Predict(now, trust))
		if err := store.Restore(Source{Name: "s"}, "A", data[:99], now); err == nil || fmt.Sprint(bits(held(&store).Model.Predict(now, trust))) != fmt.Sprint(was) {
			t.Errorf("the error is %v, and the model may have changed", err)
		}
	})
}

func offerAll(t *testing.T, store *Store, issue Document, now time.Time) {
	t.Helper()
	if err := store.Offer(Source{Name: "s"}, issue, now); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreIsRestoredWhileItIsUsed(t *testing.T) {
	var m Model
	now := told(5*day, 5*day)(&m)
	data := saved(t, &m)
	var store Store
	var users sync.WaitGroup
	for _, use := range []func(n int){
		func(int) {
			if err := store.Restore(Source{Name: "s"}, "A", data, now); err != nil {
				t.Error(err)
			}
		},
		func(n int) {
			offerAll(t, &store, Document{Series: map[string]*Series{"A": even(now, time.Hour, float64(n), 8, 7), "B": series(0, 1)}, Issued: now}, now)
		},
		func(int) {
			for _, location := range store.Snapshot(Source{Name: "s"}).Locations() {
				if f, ok := store.Snapshot(Source{Name: "s"}).Forecast(location); ok {
					sane(t, f.Model.Predict(now, trust), now)
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
