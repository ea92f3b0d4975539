package cluster

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
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
	if diff := cmp.Diff([]string{"ForecastUsable is False", "ReleasesFailing is True"}, (&Cluster{}).reported(policy).Problems); diff != "" {
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

func TestTheStateOfWorkIsWhatItsLabelsAndAnnotationsSay(t *testing.T) {
	wish := map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}
	with := func(key, value string) map[string]string {
		return map[string]string{v1alpha1.DelayTolerantAnnotation: "true", key: value}
	}
	notHeld := with(v1alpha1.OutcomeAnnotation, v1alpha1.OutcomeNotHeld)
	for name, tt := range map[string]struct {
		state       string
		annotations map[string]string
		template    map[string]string
		want        State
	}{
		"held":                          {v1alpha1.StateHeld, wish, nil, Held},
		"released":                      {v1alpha1.StateReleased, wish, nil, Released},
		"released, and could not wait":  {v1alpha1.StateReleased, notHeld, nil, NotHeld},
		"could not wait, and need not":  {v1alpha1.StateReleased, map[string]string{v1alpha1.OutcomeAnnotation: v1alpha1.OutcomeNotHeld}, nil, Released},
		"taken by somebody else":        {v1alpha1.StateReleased, with(v1alpha1.OutcomeAnnotation, v1alpha1.OutcomeTaken), nil, Released},
		"audited":                       {v1alpha1.StateAudited, wish, nil, Audited},
		"audited, and did not ask":      {v1alpha1.StateAudited, nil, nil, Audited},
		"nobody has decided":            {"", wish, nil, Undecided},
		"nobody has decided, by a word": {"", with(v1alpha1.ReasonAnnotation, "not held: so says a stranger"), nil, Undecided},
		"the template asks":             {"", nil, wish, Undecided},
		"the Job takes the wish back":   {"", map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, wish, NotOptedIn},
		"nobody asks":                   {"", nil, nil, NotOptedIn},
		"a state that there is not":     {"forged", nil, nil, NotOptedIn},
	} {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Annotations: tt.annotations, Labels: map[string]string{v1alpha1.StateLabel: tt.state}}}
			job.Spec.Template.Annotations = tt.template
			if got := stateOf(job); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
