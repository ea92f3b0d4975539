package policy

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// storeOf has a forecast of location X from t0 on, of one value for each hour, in the source of the
// default policy and in the source without a name.
func storeOf(t testing.TB, hours ...float64) *forecast.Store {
	t.Helper()
	store := &forecast.Store{}
	for _, source := range []forecast.Source{{}, builtin().Source} {
		slots := make([]forecast.Slot, len(hours))
		for i, intensity := range hours {
			start := t0.Add(time.Duration(i) * time.Hour)
			slots[i] = forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: intensity}
		}
		document := forecast.Document{Series: map[string]*forecast.Series{"X": forecast.NewSeries(slots)}, Issued: t0, Elements: len(slots)}
		if err := store.Offer(source, document, t0); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func TestWhatTheStatusSaysOfALocation(t *testing.T) {
	limited := v1alpha1.Default()
	limited.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr.To[int32](200), Ceiling: 9}, {Ceiling: 2}}
	twoLocations := v1alpha1.Default()
	twoLocations.Spec.Locations = []v1alpha1.Location{{Name: "X"}, {Name: "Y"}}
	at := func(after time.Duration) *metav1.Time { return APITime(t0.Add(after)) }
	for name, tt := range map[string]struct {
		policy *v1alpha1.CarbonPolicy
		after  time.Duration
		want   []v1alpha1.LocationStatus
	}{
		"the running slot": {v1alpha1.Default(), 90 * time.Minute, []v1alpha1.LocationStatus{{
			Name: "X", Intensity: ptr.To[int32](151), ForecastIssued: at(0), ForecastUntil: at(2 * time.Hour),
		}}},
		"the bucket of the running slot": {limited, 30 * time.Minute, []v1alpha1.LocationStatus{{
			Name: "X", Intensity: ptr.To[int32](300), ForecastIssued: at(0), ForecastUntil: at(2 * time.Hour), Bucket: ">200", Ceiling: ptr.To[int32](2),
		}}},
		"no intensity after the end": {limited, 3 * time.Hour, []v1alpha1.LocationStatus{{
			Name: "X", ForecastIssued: at(0), ForecastUntil: at(2 * time.Hour),
		}}},
		"a location without a forecast": {twoLocations, 0, []v1alpha1.LocationStatus{
			{Name: "X", Intensity: ptr.To[int32](300), ForecastIssued: at(0), ForecastUntil: at(2 * time.Hour)}, {Name: "Y"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := New(t.Context(), tt.policy, "gridlatch-system", nil, t0)
			got := p.LocationStatuses(storeOf(t, 300, 150.6).Snapshot(p.Source), t0.Add(tt.after))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTheStatusSaysWhoElseKnowsThePast(t *testing.T) {
	second := &forecast.SecondSource{Provider: "Q", Zone: "DE", Until: t0, Ratio: 1}
	for want, d := range map[string]forecast.Details{
		"":              {},
		second.String(): {Second: second},
		second.String() + ", as it is: the provider knows nothing of the past": {Second: second, Origin: forecast.Origin{Past: "Q"}},
	} {
		store := &forecast.Store{}
		document := forecast.Document{Details: map[string]forecast.Details{"X": d}, Actuals: map[string]*forecast.Series{"X": forecast.NewSeries([]forecast.Slot{{Start: t0.Add(-time.Hour), End: t0, Intensity: 300}})}}
		p := New(t.Context(), v1alpha1.Default(), "gridlatch-system", nil, t0)
		if err := store.Offer(p.Source, document, t0); err != nil {
			t.Fatal(err)
		}
		if got := p.LocationStatuses(store.Snapshot(p.Source), t0)[0].SecondSource; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheStatusSaysWhoKnowsTheGrid(t *testing.T) {
	past := forecast.NewSeries([]forecast.Slot{{Start: t0.Add(-time.Hour), End: t0, Intensity: 300}})
	coming := forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(time.Hour), Intensity: 300}})
	const licence = "CC BY 4.0"
	for name, tt := range map[string]struct {
		origin forecast.Origin
		want   v1alpha1.LocationStatus
	}{
		"a provider": {
			forecast.Origin{Provider: "Energy-Charts", Zone: "de", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}},
			v1alpha1.LocationStatus{Provider: "Energy-Charts", Signal: &v1alpha1.Signal{Kind: "Average", EmissionFactors: "LifeCycle"}},
		},
		"a provider that does not state its signal": {forecast.Origin{Provider: "HTTP"}, v1alpha1.LocationStatus{Provider: "HTTP"}},
		"made-up values": {forecast.Origin{Provider: "Mock", IsMadeUp: true}, v1alpha1.LocationStatus{Provider: "Mock (made up)"}},
	} {
		t.Run(name, func(t *testing.T) {
			var store forecast.Store
			document := forecast.Document{
				Series: map[string]*forecast.Series{"X": coming}, Actuals: map[string]*forecast.Series{"X": past},
				Details: map[string]forecast.Details{"X": {Origin: tt.origin, Issued: t0, Attribution: licence}},
			}
			if err := store.Offer(builtin().Source, document, t0); err != nil {
				t.Fatal(err)
			}
			tt.want.Name, tt.want.Intensity, tt.want.Attribution, tt.want.ActualUntil = "X", ptr.To[int32](300), licence, APITime(t0)
			tt.want.ForecastIssued, tt.want.ForecastUntil = APITime(t0), APITime(t0.Add(time.Hour))
			got := builtin().LocationStatuses(store.Snapshot(builtin().Source), t0)
			if diff := cmp.Diff([]v1alpha1.LocationStatus{tt.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatHappensWithoutAUsableForecast(t *testing.T) {
	for basis, want := range map[forecast.Basis]struct {
		usable   bool
		fallback string
	}{
		forecast.BasisForecast:      {true, "work starts at once"},
		forecast.BasisStaleForecast: {true, "work starts at once"},
		forecast.BasisHistory:       {false, "work is planned by the history of the last weeks"},
		forecast.BasisWeather:       {false, "work is planned by the weather and the history of the last weeks"},
		forecast.BasisNothing:       {false, "work starts at once"},
	} {
		state := LocationState{Prediction: forecast.Prediction{Basis: basis}}
		if state.IsUsable() != want.usable || state.Fallback() != want.fallback {
			t.Errorf("by %s it is usable: %t, and %q; want %+v", basis, state.IsUsable(), state.Fallback(), want)
		}
	}
}

func TestTheShareOfTheSavingIsToldAfterFourWeeks(t *testing.T) {
	for name, tt := range map[string]struct {
		learned time.Duration
		share   float64
		days    int32
		percent *int32
	}{
		"nothing yet":                  {0, math.NaN(), 0, nil},
		"days that are over":           {47 * time.Hour, 0.5, 1, nil},
		"four weeks":                   {28 * 24 * time.Hour, 0.916, 28, ptr.To[int32](92)},
		"more than four weeks":         {60 * 24 * time.Hour, 0.5, 28, ptr.To[int32](50)},
		"a grid on which nothing pays": {28 * 24 * time.Hour, math.NaN(), 28, nil},
	} {
		t.Run(name, func(t *testing.T) {
			state := LocationState{Prediction: forecast.Prediction{LearnedTime: tt.learned, SavingShare: tt.share}}
			days, percent := state.Learned()
			if days != tt.days || !cmp.Equal(percent, tt.percent) {
				t.Errorf("%d days and %v, want %d and %v", days, ptr.Deref(percent, -1), tt.days, ptr.Deref(tt.percent, -1))
			}
		})
	}
}

func TestTimesOfTheAPICompareEqualToWhatIsReadBack(t *testing.T) {
	if got := APITime(time.Time{}); got != nil {
		t.Errorf("the zero time is %v", got)
	}
	cut := APITime(t0.Add(1500 * time.Millisecond).In(time.FixedZone("east", 3600)))
	raw, err := cut.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var read metav1.Time
	if err := read.UnmarshalJSON(raw); err != nil || !read.Equal(cut) || !cut.Time.Equal(t0.Add(time.Second)) {
		t.Errorf("%s is read back as %s: %v", cut, read, err)
	}
}

func TestWhyAForecastIsMissing(t *testing.T) {
	twoLocations := v1alpha1.Default()
	twoLocations.Spec.Locations = []v1alpha1.Location{{Name: "Y"}}
	short := v1alpha1.Default()
	short.Spec.Forecast.MaxAge = "1h"
	for name, tt := range map[string]struct {
		policy *v1alpha1.CarbonPolicy
		store  *forecast.Store
		after  time.Duration
		want   string
	}{
		"never read":        {v1alpha1.Default(), &forecast.Store{}, 0, "ConfigMap kube-system/carbon-intensity/data has not been read yet"},
		"too old":           {short, storeOf(t, 300, 300, 300), 2 * time.Hour, "the forecast of 2026-11-21 12:00 UTC is older than 1h"},
		"over":              {v1alpha1.Default(), storeOf(t, 300), 2 * time.Hour, "the forecast of 2026-11-21 12:00 UTC ended at 2026-11-21 13:00 UTC"},
		"not of this place": {twoLocations, storeOf(t, 300), 0, "the forecast has no location Y, but X"},
	} {
		t.Run(name, func(t *testing.T) {
			p := New(t.Context(), tt.policy, "gridlatch-system", nil, t0)
			if got := p.LocationStates(tt.store.Snapshot(p.Source), t0.Add(tt.after))[0].Missing; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestLevelsByTheNameOfAPolicy(t *testing.T) {
	pinned := v1alpha1.Default()
	pinned.Name, pinned.Spec.Locations = "pinned", []v1alpha1.Location{{Name: "X"}}
	levels := Levels{Policies: policiesOf(t, pinned), Store: storeOf(t, 300)}
	for name, tt := range map[string]struct {
		location string
		known    bool
		missing  string
	}{
		"the first location":             {"", true, "the forecast of 2026-11-21 12:00 UTC does not cover the time from 2026-11-21 12:00 UTC on"},
		"a location of the policy":       {"X", true, "the forecast of 2026-11-21 12:00 UTC does not cover the time from 2026-11-21 12:00 UTC on"},
		"a location that it has not got": {"Z", false, `location "Z": want a location of policy pinned: X`},
	} {
		t.Run(name, func(t *testing.T) {
			level, source, err := levels.Level(t.Context(), "pinned", tt.location, t0)
			if err != nil || level.IsKnown != tt.known || level.UnknownReason != tt.missing || source != builtin().Source {
				t.Errorf("known: %t, %q, %s, %v; want %t, %q", level.IsKnown, level.UnknownReason, source, err, tt.known, tt.missing)
			}
		})
	}
}

func TestHistoryCountsAsPlannedOnlyWhereNoForecastIsMissing(t *testing.T) {
	lacks := forecast.Details{LacksForecast: true}
	for name, tt := range map[string]struct {
		state LocationState
		want  bool
	}{
		"a forecast":                           {LocationState{Prediction: forecast.Prediction{Basis: forecast.BasisForecast}}, true},
		"history, where there is no forecast":  {LocationState{Details: lacks, Prediction: forecast.Prediction{Basis: forecast.BasisHistory}}, true},
		"the weather, without a forecast":      {LocationState{Details: lacks, Prediction: forecast.Prediction{Basis: forecast.BasisWeather}}, true},
		"history, where a forecast is missing": {LocationState{Prediction: forecast.Prediction{Basis: forecast.BasisHistory}}, false},
		"nothing, where there is no forecast":  {LocationState{Details: lacks, Prediction: forecast.Prediction{Basis: forecast.BasisNothing}}, false},
	} {
		if got := tt.state.IsPlanned(); got != tt.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

// A policy that names another forecast is known before its forecast is.
func TestALevelTellsThatNobodyHasLookedForTheForecastYet(t *testing.T) {
	policies, read := policiesOf(t, v1alpha1.Default()), storeOf(t, 300)
	for isUnread, store := range map[bool]*forecast.Store{true: {}, false: read} {
		level, _, err := Levels{Policies: policies, Store: store}.Level(t.Context(), "default", "", t0)
		if err != nil || level.IsUnread != isUnread || level.IsKnown == isUnread {
			t.Errorf("want unread: %t; got %+v, %v", isUnread, level, err)
		}
	}
}
