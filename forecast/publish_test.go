package forecast

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAPublishedDocumentIsReadBackAsItWas(t *testing.T) {
	hours := func(first time.Time, width time.Duration, values ...float64) *Series {
		var slots []Slot
		for i, v := range values {
			if v >= 0 {
				start := first.Add(time.Duration(i) * width)
				slots = append(slots, Slot{start, start.Add(width), v})
			}
		}
		return NewSeries(slots)
	}
	origin := Origin{Provider: "Energy-Charts", Zone: "de", Signal: Signal{Kind: Average, EmissionFactors: LifeCycle}}
	for name, document := range map[string]Document{
		"forecasts and actuals": {
			Series:   map[string]*Series{"DE": hours(t0, 15*time.Minute, 300, 0, 310.5), "FR": hours(t0, time.Hour, 20)},
			Actuals:  map[string]*Series{"DE": hours(t0.Add(-90*time.Hour), time.Hour, 1, -1, -1, 3.25, 4)},
			Details:  map[string]Details{"DE": {Origin: origin, Issued: t0.Add(-time.Hour), Attribution: "CC BY 4.0"}, "FR": {Origin: origin, Issued: t0.Add(-2 * time.Hour), Problem: "429"}},
			Elements: 4, Message: "FR: 429", Note: "slots of 1 h",
		},
		"actuals only": {
			Actuals: map[string]*Series{"DE": hours(t0.Add(-time.Hour), 5*time.Minute, 7)},
			Details: map[string]Details{"DE": {Origin: origin, LacksForecast: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			binaryData, data, err := document.ConfigMap(t0)
			if err != nil {
				t.Fatal(err)
			}
			got, err := FromConfigMap(binaryData, data, "data", t0.Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			document.Issued = t0
			slots := cmp.Transformer("slots", func(s *Series) []Slot { return s.Slots() })
			if diff := cmp.Diff(document, got, slots, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestADocumentThatHasNothingSaysWhy(t *testing.T) {
	binaryData, data, err := Document{Message: "the Secret electricity-maps does not exist"}.ConfigMap(t0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := FromConfigMap(binaryData, data, "data", t0); err == nil || err.Error() != "the Secret electricity-maps does not exist" {
		t.Errorf("got %v", err)
	}
}

func TestContentIsTheSameWhenOnlyTheTimeOfWritingDiffers(t *testing.T) {
	document := Document{Series: map[string]*Series{"DE": NewSeries([]Slot{{t0, t0.Add(time.Hour), 300}})}, Details: map[string]Details{"DE": {}}}
	binaryA, dataA, _ := document.ConfigMap(t0)
	binaryB, dataB, _ := document.ConfigMap(t0.Add(time.Hour))
	if !HasSameContent(binaryA, binaryB, dataA, dataB) {
		t.Error("the same document differs an hour later")
	}
	document.Message = "the provider does not answer"
	binaryB, dataB, _ = document.ConfigMap(t0)
	if HasSameContent(binaryA, binaryB, dataA, dataB) {
		t.Error("a message makes no difference")
	}
}
