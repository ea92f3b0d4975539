package env

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestClaimsThatHaveDriftedOrAreGoneCount(t *testing.T) {
	before := Claims{"a": false, "b": false, "c": false}
	for name, tt := range map[string]struct {
		now           Claims
		drifted, gone int
	}{
		"nothing happened":     {Claims{"a": false, "b": false, "c": false}, 0, 0},
		"one came":             {Claims{"a": false, "b": false, "c": false, "d": false}, 0, 0},
		"one has drifted":      {Claims{"a": false, "b": true, "c": false}, 1, 0},
		"one was replaced":     {Claims{"a": false, "b": false, "d": false}, 0, 1},
		"all are gone":         {Claims{}, 0, 3},
		"one drifted, one not": {Claims{"a": true, "d": false}, 1, 2},
	} {
		if drifted, gone := tt.now.Churn(before); drifted != tt.drifted || gone != tt.gone {
			t.Errorf("%s: %d have drifted and %d are gone, want %d and %d", name, drifted, gone, tt.drifted, tt.gone)
		}
	}
}

func TestConditionsAreFoundByTypeAndState(t *testing.T) {
	o := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": []any{
		"nonsense", map[string]any{"type": "Ready", "status": "False"}, map[string]any{"type": "Drifted", "status": "Unknown"},
	}}}}
	switch {
	case hasCondition(o, "Ready", "True"):
		t.Error("it is ready")
	case !hasCondition(o, "Drifted", "True", "Unknown"):
		t.Error("it has not drifted")
	case hasCondition(&unstructured.Unstructured{}, "Ready", "True"):
		t.Error("an object without conditions is ready")
	}
}
