package gating

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

func TestAStatusIsWrittenWithItsZeros(t *testing.T) {
	data, err := replaceStatus(v1alpha1.CarbonPolicyStatus{Held: v1alpha1.HeldStatus{Groups: 1}}).Data(client.Object(nil))
	if err != nil {
		t.Fatal(err)
	}
	// a Job without pods yet; the schema requires both
	if want := `[{"op":"add","path":"/status","value":{"held":{"pods":0,"groups":1}}}]`; string(data) != want {
		t.Errorf("got %s, want %s", data, want)
	}
}

func TestTheConditionTellsWhetherTheForecastIsInUse(t *testing.T) {
	element := func(hour int, value string) string {
		return fmt.Sprintf(`{"location":"X","timestamp":%q,"duration":60%s}`, t0.Add(time.Duration(hour)*time.Hour).Format(time.RFC3339), value)
	}
	for name, tt := range map[string]struct {
		documents [][]string // values by the hour
		after     time.Duration
		reason    string
	}{
		"all is known":               {[][]string{{`,"value":600`, `,"value":500`}}, 30 * time.Minute, v1alpha1.ReasonCurrent},
		"null between others":        {[][]string{{`,"value":600`, `,"value":null`, `,"value":600`}}, 90 * time.Minute, v1alpha1.ReasonLastGood},
		"null at the end":            {[][]string{{`,"value":500`, `,"value":600`, `,"value":null`}}, 150 * time.Minute, v1alpha1.ReasonStale},
		"a zero between others":      {[][]string{{`,"value":600`, `,"value":0`, `,"value":500`}}, 90 * time.Minute, v1alpha1.ReasonNotBelieved},
		"left out at the end":        {[][]string{{`,"value":500`, `,"value":600`, ``, ``}}, 150 * time.Minute, v1alpha1.ReasonNotBelieved},
		"zeros behind a good one":    {[][]string{{`,"value":600`}, {`,"value":0`, `,"value":0`, ``}}, 150 * time.Minute, v1alpha1.ReasonNotBelieved},
		"nothing but zeros":          {[][]string{{`,"value":0`, ``}}, 30 * time.Minute, v1alpha1.ReasonNotBelieved},
		"the forecast is over":       {[][]string{{`,"value":600`, `,"value":500`}}, 150 * time.Minute, v1alpha1.ReasonStale},
		"there never was a forecast": {nil, 0, v1alpha1.ReasonMissing},
	} {
		t.Run(name, func(t *testing.T) {
			var store forecast.Store
			for _, values := range tt.documents {
				var elements []string
				for hour, value := range values {
					elements = append(elements, element(hour, value))
				}
				document, err := forecast.Parse([]byte("[" + strings.Join(elements, ",") + "]"))
				if err != nil {
					t.Fatal(err)
				}
				document.Issued = t0
				_ = store.Offer(forecast.Source{Name: "x"}, document, t0) // a refusal is a part of the test
			}
			p := &pass{policy: builtin(), snapshot: store.Snapshot(forecast.Source{Name: "x"}), now: t0.Add(tt.after)}
			c := p.forecastCondition()
			if c.Reason != tt.reason || (tt.reason == v1alpha1.ReasonNotBelieved) != strings.Contains(c.Message, "not believed, and count as not known") {
				t.Errorf("condition %s: %s, want %s", c.Reason, c.Message, tt.reason)
			}
		})
	}
}
