package cluster

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestConditionsThatAreProblemsAreTold(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Message: kind + " is " + string(status)}
	}
	policy := &v1alpha1.CarbonPolicy{Status: v1alpha1.CarbonPolicyStatus{Conditions: []metav1.Condition{
		condition(v1alpha1.ConditionReady, metav1.ConditionTrue), condition(v1alpha1.ConditionForecastUsable, metav1.ConditionFalse),
		condition(v1alpha1.ConditionReleasesFailing, metav1.ConditionTrue), condition(v1alpha1.ConditionReleasesFailing, metav1.ConditionFalse),
	}}}
	if diff := cmp.Diff([]string{"ForecastUsable is False", "ReleasesFailing is True"}, reported(policy).Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestTheFirstOfSomeStartsThatIsPastCounts(t *testing.T) {
	now := time.Date(2026, 11, 21, 21, 14, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { return ptr.To(now.Add(-d)) }
	for name, tt := range map[string]struct {
		starts []*time.Time
		want   *time.Time
	}{
		"no start":           {[]*time.Time{nil, nil}, nil},
		"a start to come":    {[]*time.Time{ago(-time.Hour), nil}, nil},
		"a start just past":  {[]*time.Time{ago(time.Minute), nil}, nil},
		"the planned start":  {[]*time.Time{ago(2 * time.Minute), ago(-time.Hour)}, ago(2 * time.Minute)},
		"the latest start":   {[]*time.Time{nil, ago(time.Hour)}, ago(time.Hour)},
		"the first of them":  {[]*time.Time{ago(2 * time.Minute), ago(time.Hour)}, ago(time.Hour)},
		"in the other order": {[]*time.Time{ago(time.Hour), ago(2 * time.Minute)}, ago(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, overdueSince(now, tt.starts...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
