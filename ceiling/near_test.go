package ceiling

import (
	"fmt"
	"testing"
	"time"

	carbonaware "github.com/gridlatch/gridlatch/api/carbonaware/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// Where the forecast of a CarbonAwareKedaScaler says nothing, its neighbours count. What was not
// known in the past stays so.
func TestAScalerTakesNoGapForAnEndOfTheForecast(t *testing.T) {
	w := newWorld(t)
	now := w.clock.Now()
	s := scaler("shop", "web", 1)
	s.Spec.CarbonIntensityForecastDataSource = carbonaware.CarbonIntensityForecastDataSource{
		LocalConfigMap: &carbonaware.LocalConfigMap{Namespace: "kube-system", Name: "carbon-intensity", Key: "data"},
	}
	text := "["
	for i, value := range []string{`,"value":600`, `,"value":0`, `,"value":580`, `,"value":-1`} {
		text += fmt.Sprintf(`{"timestamp":%q,"duration":60%s},`, now.Add(time.Duration(i-1)*time.Hour).Format(time.RFC3339), value)
	}
	document, err := forecast.Parse([]byte(text[:len(text)-1] + "]"))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Store.Offer(carbonIntensity, document, now); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		after, ask time.Duration
		want       float64
		known      bool
	}{
		{0, 0, 600, true}, {0, time.Hour, 580, true}, {0, 150 * time.Minute, 580, true}, {0, 3 * time.Hour, 0, false},
		{30 * time.Minute, 15 * time.Minute, 0, false},
	} {
		o := w.intensitiesOf(s, nil, now.Add(step.after))
		if got, known := o.course(now.Add(step.ask)); known != step.known || known && got != step.want {
			t.Errorf("%v later, at %v it is %v (%v), want %v", step.after, step.ask, got, known, step.want)
		}
	}
}
