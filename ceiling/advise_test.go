package ceiling

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gridlatch/gridlatch/serving"
)

func TestAdviceWarnsAndRefusesNothing(t *testing.T) {
	advice := Advice{clocktesting.NewFakePassiveClock(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))}
	tests := []struct {
		name, object string
		want         []string
	}{
		{name: "all is well", object: `{"spec": {"carbonIntensityForecastDataSource": {"mockCarbonForecast": true}}}`},
		{name: "no object", object: `nothing`},
		{name: "more than can be meant", object: `{"spec": {"ecoModeOff": {"recurringSchedule": ["` + strings.Repeat(`x", "`, maxSpecBytes/5) + `"]}}}`},
		{
			name: "schedules, thresholds and the source",
			object: `{"spec": {
				"maxReplicasByCarbonIntensity": [{"carbonIntensityThreshold": 5, "maxReplicas": 1}, {"carbonIntensityThreshold": 5, "maxReplicas": 2}],
				"ecoModeOff": {
					"maxReplicas": 3,
					"customSchedule": [{"startTime": "noon", "endTime": "2026-11-22T12:00:00Z"}, {"startTime": "2026-11-22T13:00:00Z", "endTime": "2026-11-22T12:00:00Z"}],
					"recurringSchedule": ["* *", "* * * * * 2020", "0 0 9 * * *"]
				},
				"carbonIntensityForecastDataSource": {"localConfigMap": {"namespace": "../x", "name": "y", "key": "z"}}}}`,
			want: []string{
				"spec.maxReplicasByCarbonIntensity[1]: carbonIntensityThreshold 5 is that of [0], too; only [0] counts",
				`spec.ecoModeOff.customSchedule[0].startTime: "noon": want RFC 3339, such as 2026-11-22T16:45:00Z`,
				"spec.ecoModeOff.customSchedule[1]: startTime 2026-11-22T13:00:00Z: want a time before endTime 2026-11-22T12:00:00Z",
				`spec.ecoModeOff.recurringSchedule[0]: "* *": want a cron expression of five to seven fields, such as "* 23 * * 1-5"`,
				`spec.ecoModeOff.recurringSchedule[1]: "* * * * * 2020": this expression matches no future time`,
				`spec.ecoModeOff.recurringSchedule[2]: "0 0 9 * * *": the sixth field is the year, and the first the minute; if the first is meant as seconds, want seven fields: "0 0 9 * * * *"`,
				`spec.carbonIntensityForecastDataSource: localConfigMap.namespace: "../x": want the name of a namespace`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			response := advice.Handle(t.Context(), serving.Review{Operation: admissionv1.Create, Object: []byte(tt.object)})
			if !response.Allowed || len(response.Patch) > 0 {
				t.Errorf("got %+v", response)
			}
			if diff := cmp.Diff(tt.want, response.Warnings); diff != "" {
				t.Error(diff)
			}
		})
	}
}
