package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// What is not known is not clean: ceilings are those of what was known last, or of
// the neighbours.
func TestLevelWhereTheForecastSaysNothing(t *testing.T) {
	element := func(hour int, value string) string {
		return fmt.Sprintf(`{"location":"X","timestamp":%q,"duration":60%s}`, t0.Add(time.Duration(hour)*time.Hour).Format(time.RFC3339), value)
	}
	for name, tt := range map[string]struct {
		issues [][]string // values by the hour
		after  time.Duration
		want   float64
		known  bool
	}{
		"between slots of 600":          {[][]string{{`,"value":600`, `,"value":null`, `,"value":600`}}, 90 * time.Minute, 600, true},
		"a zero between others":         {[][]string{{`,"value":600`, `,"value":0`, `,"value":500`}}, 90 * time.Minute, 600, true},
		"a sentinel between others":     {[][]string{{`,"value":500`, `,"value":-1`, `,"value":600`}}, 90 * time.Minute, 600, true},
		"null at the end":               {[][]string{{`,"value":500`, `,"value":600`, `,"value":null`, `,"value":null`}}, 150 * time.Minute, 600, true},
		"null at the beginning":         {[][]string{{`,"value":null`, `,"value":500`, `,"value":600`}}, 30 * time.Minute, 500, true},
		"misspelt but for one":          {[][]string{{`,"value":500`, `,"val":100`, `,"val":100`}}, 90 * time.Minute, 500, true},
		"a clean one before":            {[][]string{{`,"value":90`, `,"value":90`, `,"value":90`}, {`,"value":600`, `,"value":null`, `,"value":600`}}, 90 * time.Minute, 600, true},
		"left out at the end":           {[][]string{{`,"value":500`, `,"value":600`, ``, ``}}, 150 * time.Minute, 600, true},
		"left out at the beginning":     {[][]string{{``, `,"value":500`, `,"value":600`}}, 30 * time.Minute, 500, true},
		"an issue of zeros, and before": {[][]string{{`,"value":600`}, {`,"value":0`, `,"value":0`, ``, ``}}, 150 * time.Minute, 600, true},
		"nothing but zeros":             {[][]string{{`,"value":0`, ``}}, 30 * time.Minute, 0, false},
		"when all is over":              {[][]string{{`,"value":600`, `,"value":500`}}, 150 * time.Minute, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			var store forecast.Store
			for _, values := range tt.issues {
				var elements []string
				for hour, value := range values {
					elements = append(elements, element(hour, value))
				}
				issue, err := forecast.Parse([]byte("[" + strings.Join(elements, ",") + "]"))
				if err != nil {
					t.Fatal(err)
				}
				issue.Issued = t0
				_ = store.Offer(forecast.Source{Name: "source"}, issue, t0) // what is refused is a part of the test
			}
			policy, now := New(t.Context(), v1alpha1.Default(), "gridlatch-system", nil, t0), t0.Add(tt.after)
			level := policy.Level(store.Snapshot(forecast.Source{Name: "source"}), "", now)
			if level.IsKnown != tt.known || tt.known && level.Intensity != tt.want {
				t.Errorf("it is taken for %v (%v), want %v", level.Intensity, level.IsKnown, tt.want)
			}
		})
	}
}

func TestLevel(t *testing.T) {
	slots := []forecast.Slot{{Start: t0, End: t0.Add(30 * time.Minute), Intensity: 100}, {Start: t0.Add(30 * time.Minute), End: t0.Add(4 * time.Hour), Intensity: 300}}
	issue := forecast.Document{Series: map[string]*forecast.Series{"X": forecast.NewSeries(slots)}, Issued: t0, Elements: 2}
	tests := []struct {
		name    string
		policy  func(*v1alpha1.CarbonPolicySpec)
		after   time.Duration
		want    float64
		known   bool
		exempt  bool
		until   time.Duration // after t0
		missing string
	}{
		{name: "the intensity of the running slot, until it ends", after: 10 * time.Minute, want: 100, known: true, until: 30 * time.Minute},
		{name: "until the hour ends, too", after: 40 * time.Minute, want: 300, known: true, until: time.Hour},
		{
			name: "an exemption, until it ends", after: 40 * time.Minute, want: 300, known: true, exempt: true, until: 45 * time.Minute,
			policy: func(s *v1alpha1.CarbonPolicySpec) {
				from, to := metav1.NewTime(t0), metav1.NewTime(t0.Add(45*time.Minute))
				s.Exemptions = []v1alpha1.Exemption{{From: &from, To: &to}}
			},
		},
		{
			name: "a forecast that is too old is no intensity", after: 90 * time.Minute, until: 2 * time.Hour, missing: "is older than 1h",
			policy: func(s *v1alpha1.CarbonPolicySpec) { s.Forecast.MaxAge = "1h" },
		},
		{
			name: "another location is none", until: time.Hour, missing: "the forecast has no location Y, but X",
			policy: func(s *v1alpha1.CarbonPolicySpec) { s.Locations = []v1alpha1.Location{{Name: "Y"}} },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var store forecast.Store
			if err := store.Offer(forecast.Source{Name: "source"}, issue, t0); err != nil {
				t.Fatal(err)
			}
			object := v1alpha1.Default()
			if tt.policy != nil {
				tt.policy(&object.Spec)
			}
			level := New(t.Context(), object, "gridlatch-system", nil, t0).Level(store.Snapshot(forecast.Source{Name: "source"}), "", t0.Add(tt.after))
			if level.IsKnown != tt.known || tt.known && level.Intensity != tt.want || level.IsExempt != tt.exempt {
				t.Errorf("got %v, known %v, exempt %v", level.Intensity, level.IsKnown, level.IsExempt)
			}
			if got := level.ValidUntil.Sub(t0); got != tt.until {
				t.Errorf("got until %v after the start, want %v", got, tt.until)
			}
			if !strings.Contains(level.UnknownReason, tt.missing) {
				t.Errorf("got missing %q, want %q", level.UnknownReason, tt.missing)
			}
		})
	}
}

func TestAScheduleThatIsProbablyNotMeantHoldsAndIsToldOf(t *testing.T) {
	object := v1alpha1.Default()
	object.Spec.Exemptions = []v1alpha1.Exemption{{Schedule: "* 22-5 * * SAT-SUN"}, {Schedule: "0 0 9 * * *"}}
	policy := New(t.Context(), object, "gridlatch-system", nil, t0)
	if len(policy.Problems) > 0 || len(policy.terms.Exemptions) != 2 {
		t.Errorf("got %d exemptions, and problems %q", len(policy.terms.Exemptions), policy.Problems)
	}
	if len(policy.Warnings) != 1 || !strings.HasPrefix(policy.Warnings[0], `spec.exemptions[1]: schedule "0 0 9 * * *": the sixth field is the year`) {
		t.Errorf("got the warnings %q", policy.Warnings)
	}
}

func TestNumbersOfAPolicyThatCannotBeReadAreToldOfAndTheDefaultHolds(t *testing.T) {
	object := v1alpha1.Default()
	object.Spec.MaxDelay, object.Spec.DefaultDuration, object.Spec.Forecast.MaxAge = "-1h", "soon", ""
	object.Spec.MinGainPercent, object.Spec.WaitPricePercentPerHour = "NaN", "1e2"
	policy := New(t.Context(), object, "gridlatch-system", nil, t0)
	want := []string{
		`spec.maxDelay: "-1h": want a duration such as 90m, 8h, 1d12h or PT8H`,
		`spec.defaultDuration: "soon": want a duration such as 90m, 8h, 1d12h or PT8H`,
		`spec.minGainPercent: "NaN": want a percentage from 0 to 100, such as 0.5`,
	}
	if diff := cmp.Diff(want, policy.Problems); diff != "" {
		t.Error(diff)
	}
	got := []any{policy.maxDelay, policy.defaultDuration, policy.maxAge, policy.terms.MinGain, policy.terms.WaitPrice}
	if diff := cmp.Diff([]any{24 * time.Hour, time.Hour, 24 * time.Hour, 0.01, 1.0}, got); diff != "" {
		t.Error(diff)
	}
	for _, zero := range []v1alpha1.Duration{"0d", "0w", "PT0S", "P0D", "0d0h", "0.0h"} {
		object.Spec.MaxDelay = zero
		if got := New(t.Context(), object, "gridlatch-system", nil, t0).maxDelay; got != 0 {
			t.Errorf("%s is %s, want none", zero, got)
		}
	}
	object.Spec.MaxDelay, object.Spec.DefaultDuration, object.Spec.Forecast.MaxAge = "0s", "P1DT12H", "1w"
	policy = New(t.Context(), object, "gridlatch-system", nil, t0)
	if diff := cmp.Diff([]time.Duration{0, 36 * time.Hour, 168 * time.Hour}, []time.Duration{policy.maxDelay, policy.defaultDuration, policy.maxAge}); diff != "" {
		t.Error(diff)
	}
}

func TestTheLastBucketMayBeOpen(t *testing.T) {
	object := v1alpha1.Default()
	object.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr.To[int32](200), Ceiling: 3}, {Ceiling: 1}}
	if got := New(t.Context(), object, "gridlatch-system", nil, t0).buckets.String(); got != "200=3,*=1" {
		t.Errorf("buckets %s", got)
	}
}
