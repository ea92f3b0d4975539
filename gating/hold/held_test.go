package hold

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

func TestHeldWhole(t *testing.T) {
	tests := map[string]struct {
		by, queue string
		suspended bool
		want      bool
	}{
		"suspended by us":                   {by: v1alpha1.HoldBySuspend, suspended: true, want: true},
		"resumed by somebody else":          {by: v1alpha1.HoldBySuspend},
		"suspended by somebody else":        {suspended: true},
		"with a mark that nobody knows":     {by: "string", suspended: true},
		"at the queue":                      {by: v1alpha1.HoldByKueue, queue: v1alpha1.Gate, suspended: true, want: true},
		"at the queue, behind another":      {by: v1alpha1.HoldByKueue, queue: "a.example/b, " + v1alpha1.Gate, suspended: true, want: true},
		"at the queue, by somebody else":    {by: v1alpha1.HoldByKueue, queue: "a.example/b", suspended: true},
		"let go by the queue all the same":  {by: v1alpha1.HoldByKueue, queue: v1alpha1.Gate},
		"at a queue that asks nobody to go": {by: v1alpha1.HoldByKueue, suspended: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.HeldByAnnotation: tt.by, KueueGatesAnnotation: tt.queue}},
				Spec:       batchv1.JobSpec{Suspend: ptr.To(tt.suspended)},
			}
			if got := HoldsJobItself(job); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
