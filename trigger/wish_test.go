package trigger

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// path is that of the first trigger of an object.
func path() *field.Path { return field.NewPath("spec", "triggers").Index(0) }

func TestWhatIsWrittenIsRead(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		metadata map[string]string
		want     Wish
	}{
		"the tutorial's": {
			map[string]string{"region": "us-west-2", "emissionThreshold": "200", "handler": "scaleDown"},
			Wish{Policy: "default", Region: "us-west-2", Threshold: 200, Handler: HandlerScaleDown, Zone: time.UTC},
		},
		"no more than the threshold": {
			map[string]string{"emissionThreshold": "0"},
			Wish{Policy: "default", Handler: HandlerScaleDown, Zone: time.UTC},
		},
		"hysteresis and a policy": {
			map[string]string{"emissionThreshold": "200", "hysteresisPercent": "5", "policy": "batch", "handler": "pause", "mode": "threshold"},
			Wish{Policy: "batch", Threshold: 200, Hysteresis: 0.05, Handler: HandlerPause, Zone: time.UTC},
		},
		"the cleanest hours": {
			map[string]string{"mode": "planned", "cleanHoursPerDay": "7.5", "timeZone": "Europe/Berlin"},
			Wish{Policy: "default", Handler: HandlerScaleDown, CleanHours: 450 * time.Minute, Zone: berlin},
		},
		"gradual, to twice the threshold": {
			map[string]string{"emissionThreshold": "200", "gradual": "true"},
			Wish{Policy: "default", Threshold: 200, GradualUpTo: 400, Handler: HandlerScaleDown, Zone: time.UTC},
		},
		"what was rewritten": {
			map[string]string{
				"emissionThreshold": "200", "gradual": "true", "gradualUpTo": "300", "effect": "ceiling",
				"writtenAs": "carbon-intensity", "scalerAddress": "gridlatch-scaler:9446", "enableTLS": "true", "unsafeSsl": "true",
			},
			Wish{Policy: "default", Threshold: 200, GradualUpTo: 300, Handler: HandlerScaleDown, Zone: time.UTC, IsCeiling: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, errs := ParseWish(tt.metadata, path())
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatCannotBeUsedIsNamed(t *testing.T) {
	const where = "spec.triggers[0].metadata."
	for name, tt := range map[string]struct {
		metadata map[string]string
		want     string
	}{
		"no threshold":           {nil, where + `emissionThreshold: Required value: want gCO2eq/kWh up to which the grid is clean, such as "200"`},
		"a word":                 {map[string]string{"emissionThreshold": "low"}, where + `emissionThreshold: Invalid value: "low": want gCO2eq/kWh as a number from 0 to 1000000, such as 200`},
		"no number":              {map[string]string{"emissionThreshold": "NaN"}, where + `emissionThreshold: Invalid value: "NaN"`},
		"an empty threshold":     {map[string]string{"emissionThreshold": ""}, where + `emissionThreshold: Invalid value: "": want a value, or not this key`},
		"another handler":        {map[string]string{"emissionThreshold": "1", "handler": "stop"}, where + `handler: Invalid value: "stop": want scaleDown or pause`},
		"another mode":           {map[string]string{"emissionThreshold": "1", "mode": "best"}, where + `mode: Invalid value: "best": want threshold or planned`},
		"a misspelt key":         {map[string]string{"emissionThreshold": "1", "hysterisisPercent": "1"}, `spec.triggers[0].metadata: Unsupported value: "hysterisisPercent": supported values: "emissionThreshold"`},
		"too much hysteresis":    {map[string]string{"emissionThreshold": "1", "hysteresisPercent": "51"}, where + `hysteresisPercent: Invalid value: "51": want a percentage from 0 to 50, such as 5`},
		"a day that is too long": {map[string]string{"mode": "planned", "cleanHoursPerDay": "25"}, where + `cleanHoursPerDay: Invalid value: "25": want at least a minute and at most 24 hours`},
		"no time of a day":       {map[string]string{"mode": "planned", "cleanHoursPerDay": "1e-300"}, where + `cleanHoursPerDay: Invalid value: "1e-300": want at least a minute`},
		"a zone of many names":   {map[string]string{"mode": "planned", "cleanHoursPerDay": "8", "timeZone": "Europe/./Berlin"}, where + `timeZone: Invalid value: "Europe/./Berlin"`},
		"planned without hours":  {map[string]string{"mode": "planned"}, where + "cleanHoursPerDay: Required value"},
		"planned by a threshold": {map[string]string{"mode": "planned", "cleanHoursPerDay": "8", "emissionThreshold": "1"}, where + "emissionThreshold: Forbidden: it counts only with mode: threshold"},
		"hours without planned":  {map[string]string{"cleanHoursPerDay": "8", "emissionThreshold": "1"}, where + "cleanHoursPerDay: Forbidden: it counts only with mode: planned"},
		"a zone of nowhere":      {map[string]string{"mode": "planned", "cleanHoursPerDay": "8", "timeZone": "Mars"}, where + `timeZone: Invalid value: "Mars"`},
		"gradual planned":        {map[string]string{"mode": "planned", "cleanHoursPerDay": "8", "gradual": "true"}, where + "gradual: Forbidden"},
		"gradual pause":          {map[string]string{"emissionThreshold": "1", "handler": "pause", "gradual": "true"}, where + "gradual: Forbidden"},
		"a falling end":          {map[string]string{"emissionThreshold": "9", "gradual": "true", "gradualUpTo": "8"}, where + `gradualUpTo: Invalid value: "8": want more than emissionThreshold`},
		"an end without gradual": {map[string]string{"emissionThreshold": "9", "gradualUpTo": "18"}, where + `gradualUpTo: Forbidden: it counts only with gradual: "true"`},
		"a long region":          {map[string]string{"emissionThreshold": "9", "region": strings.Repeat("x", 254)}, "want at most 253 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			w, errs := ParseWish(tt.metadata, path())
			if !strings.Contains(errs.ToAggregate().Error(), tt.want) {
				t.Errorf("got %v, want %s", errs, tt.want)
			}
			if w != (Wish{}) {
				t.Errorf("there is a wish all the same: %+v", w)
			}
		})
	}
}
