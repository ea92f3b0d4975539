package forecast

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// fromOrigin returns a document with a forecast of location A.
func fromOrigin(origin Origin, s *Series, issued time.Time) Document {
	return Document{Series: map[string]*Series{"A": s}, Details: map[string]Details{"A": {Origin: origin, Issued: issued}}}
}

func TestAnotherOriginBeginsAnew(t *testing.T) {
	average := Origin{Provider: "P", Zone: "DE", Signal: Signal{Kind: Average, EmissionFactors: LifeCycle}}
	with := func(change func(*Origin)) Origin {
		o := average
		change(&o)
		return o
	}
	first, second := series(0, 300, 310, 320, 330, 340, 350), series(4, 200, 210, 220)
	for name, tt := range map[string]struct {
		before, after Origin
		isAnew        bool
	}{
		"the same origin":               {average, average, false},
		"nobody states one":             {Origin{}, Origin{}, false},
		"another provider":              {average, with(func(o *Origin) { o.Provider = "Q" }), true},
		"another zone":                  {average, with(func(o *Origin) { o.Zone = "FR" }), true},
		"marginal":                      {average, with(func(o *Origin) { o.Signal.Kind = Marginal }), true},
		"direct":                        {average, with(func(o *Origin) { o.Signal.EmissionFactors = Direct }), true},
		"no grid is behind it any more": {average, with(func(o *Origin) { o.IsMadeUp = true }), true},
		"from an exporter to ours":      {Origin{}, average, true},
		"from ours to an exporter":      {average, Origin{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			document := func(o Origin, s *Series, issued time.Time) Document {
				if o == (Origin{}) {
					return Document{Series: map[string]*Series{"A": s}, Issued: issued}
				}
				return fromOrigin(o, s, issued)
			}
			var store Store
			if err := store.Offer(Source{Name: "s"}, document(tt.before, first, at(0)), at(0)); err != nil {
				t.Fatal(err)
			}
			model := keptForecastOf(&store).Model
			if err := store.Offer(Source{Name: "s"}, document(tt.after, second, at(4)), at(4)); err != nil {
				t.Fatal(err)
			}
			f := keptForecastOf(&store)
			_, keepsTail := f.Series.At(at(25))
			if (f.Model != model) != tt.isAnew || f.Details.Origin != tt.after {
				t.Errorf("another model: %v, origin: %v", f.Model != model, f.Details.Origin)
			}
			if _, keepsPast := f.Series.At(at(3)); keepsPast == tt.isAnew || keepsTail == tt.isAnew {
				t.Errorf("the series mixes two origins: %v", f.Series.Slots())
			}
		})
	}
}

func TestAnOriginOfWhichNothingIsBelievedDisplacesNothing(t *testing.T) {
	var store Store
	good := fromOrigin(Origin{Provider: "P"}, series(0, 300, 310, 320, 330), at(0))
	if err := store.Offer(Source{Name: "s"}, good, at(0)); err != nil {
		t.Fatal(err)
	}
	was := keptForecastOf(&store)
	zeros := fromOrigin(Origin{Provider: "Q"}, series(1, 0, 0, 0), at(1))
	zeros.Actuals = map[string]*Series{"A": series(0, 0)}
	if err := store.Offer(Source{Name: "s"}, zeros, at(1)); err == nil {
		t.Error("zeros are believed")
	}
	if is := keptForecastOf(&store); is.Model != was.Model || is.Series != was.Series || is.Details.Origin.Provider != "P" {
		t.Errorf("the good forecast is gone: %+v", is)
	}
}

func TestADocumentMayHaveActualIntensitiesOnly(t *testing.T) {
	g := synthetic(13, 40, 0)
	const now = 30 * day
	var store Store
	document := Document{
		Actuals: map[string]*Series{"A": g.between(0, now)},
		Details: map[string]Details{"A": {Origin: Origin{Provider: "P"}, LacksForecast: true, Attribution: "CC BY 4.0"}, "B": {Problem: "there is no zone B"}},
		Message: "some zones could not be had",
	}
	if err := store.Offer(Source{Name: "s"}, document, hr(now)); err != nil {
		t.Fatal(err)
	}
	snapshot := store.Snapshot(Source{Name: "s"})
	f, ok := snapshot.Forecast("A")
	if !ok || !f.Series.IsEmpty() || !f.ActualUntil().Equal(hr(now)) || !f.Details.LacksForecast || f.Details.Attribution != "CC BY 4.0" {
		t.Errorf("got %v, %+v, until %v", ok, f.Details, f.ActualUntil())
	}
	if p := f.Model.Predict(hr(now), trust); p.Basis != BasisHistory {
		t.Errorf("the basis is %s", p.Basis)
	}
	if b, ok := snapshot.Forecast("B"); !ok || b.Details.Problem != "there is no zone B" || !b.ActualUntil().IsZero() {
		t.Errorf("of B: %v, %+v", ok, b.Details)
	}
	if snapshot.Problem() != "some zones could not be had" || snapshot.Doubt() != "" || snapshot.HasForecast() {
		t.Errorf("problem %q, doubt %q", snapshot.Problem(), snapshot.Doubt())
	}

	// The location is kept while its past is useful, even if the document does not have it any more.
	other := Document{Actuals: map[string]*Series{"C": g.between(0, now)}, Details: map[string]Details{"C": {}}}
	for _, tt := range []struct {
		days int
		want bool
	}{{1, true}, {55, true}, {57, false}} {
		at := hr(now + tt.days*day)
		other.Actuals["C"] = even(at.Add(-time.Hour), time.Hour, 300)
		if err := store.Offer(Source{Name: "s"}, other, at); err != nil {
			t.Fatal(err)
		}
		if _, ok := store.Snapshot(Source{Name: "s"}).Forecast("A"); ok != tt.want {
			t.Errorf("after %d days, location A is kept: %v", tt.days, ok)
		}
	}
}

func TestWhatTheWriterCouldNotDoIsAProblemAndNoDoubt(t *testing.T) {
	for name, tt := range map[string]struct {
		message, problem, want string
	}{
		"all is well":              {"", "", ""},
		"a message":                {"the key is wrong", "401", "the key is wrong"},
		"a location without a key": {"", "401", `location "A": 401`},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			document := fromOrigin(Origin{Provider: "P"}, series(0, 300), at(0))
			document.Message, document.Details["A"] = tt.message, Details{Problem: tt.problem, Issued: at(0)}
			if err := store.Offer(Source{Name: "s"}, document, at(0)); err != nil {
				t.Fatal(err)
			}
			if s := store.Snapshot(Source{Name: "s"}); s.Problem() != tt.want || s.Doubt() != "" {
				t.Errorf("problem %q, doubt %q", s.Problem(), s.Doubt())
			}
		})
	}
}

func TestActualIntensitiesThatAreNotBelievedAreADoubt(t *testing.T) {
	var store Store
	document := fromOrigin(Origin{}, series(0, 300, 310), at(0))
	document.Actuals = map[string]*Series{"A": series(-15, 300, 0, 310)}
	if err := store.Offer(Source{Name: "s"}, document, at(0)); err != nil {
		t.Fatal(err)
	}
	s := store.Snapshot(Source{Name: "s"})
	if want := `location "A": actual intensities: 1 of 3 values are not believed`; s.CountDoubted() != 1 || !strings.HasPrefix(s.Doubt(), want) || s.Problem() != s.Doubt() {
		t.Errorf("%d doubted: %q, problem %q", s.CountDoubted(), s.Doubt(), s.Problem())
	}
}

func TestEachLocationHasItsOwnTimeOfIssue(t *testing.T) {
	var store Store
	document := Document{
		Series:  map[string]*Series{"A": series(0, 300), "B": series(0, 200)},
		Details: map[string]Details{"A": {Issued: at(-2)}, "B": {Issued: at(-1)}}, Issued: at(0),
	}
	if err := store.Offer(Source{Name: "s"}, document, at(0)); err != nil {
		t.Fatal(err)
	}
	for location, want := range map[string]time.Time{"A": at(-2), "B": at(-1)} {
		if f, _ := store.Snapshot(Source{Name: "s"}).Forecast(location); !f.Issued.Equal(want) || !f.Model.received.Equal(want) {
			t.Errorf("location %s: issued %v and received %v, want %v", location, f.Issued, f.Model.received, want)
		}
	}
}

func TestAHistoryOfAnotherOriginIsNotRestored(t *testing.T) {
	const now = 20 * day
	origin := Origin{Provider: "P", Zone: "DE"}
	m := observed(synthetic(15, 30, 0), now)
	history := saveModel(t, m)
	for name, tt := range map[string]struct {
		offered *Origin // before the history is read
		of      Origin  // the history
		then    Origin  // what is offered afterwards
		fails   bool
		learned bool
	}{
		"before the first document":               {nil, origin, origin, false, true},
		"another document follows":                {nil, origin, Origin{}, false, false},
		"after a document of the same origin":     {&origin, origin, origin, false, true},
		"after a document of another origin":      {&Origin{}, origin, Origin{}, true, false},
		"a history of before origins were stated": {&origin, Origin{}, origin, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			var store Store
			forecast := even(hr(now), time.Hour, 300, 310)
			if tt.offered != nil {
				if err := store.Offer(Source{Name: "s"}, fromOrigin(*tt.offered, forecast, hr(now)), hr(now)); err != nil {
					t.Fatal(err)
				}
			}
			if err := store.Restore(Source{Name: "s"}, "A", tt.of, history, hr(now)); errors.Is(err, ErrOtherOrigin) != tt.fails {
				t.Errorf("restoring returns %v", err)
			}
			if err := store.Offer(Source{Name: "s"}, fromOrigin(tt.then, forecast, hr(now)), hr(now)); err != nil {
				t.Fatal(err)
			}
			f := keptForecastOf(&store)
			if learned := f.Model.Predict(hr(now), trust).LearnedTime > 10*day*time.Hour; learned != tt.learned || f.Details.Origin != tt.then {
				t.Errorf("it has learned: %v, and is of %v", learned, f.Details.Origin)
			}
		})
	}
}
