package policy

import (
	"maps"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// Wish returns an object's wish to wait: the annotation delay-tolerant or, without the annotation,
// the label of the same name. The result is false if the object has neither.
func Wish(o metav1.Object) (value string, said bool) {
	if value, said = o.GetAnnotations()[v1alpha1.DelayTolerantAnnotation]; !said {
		value, said = o.GetLabels()[v1alpha1.DelayTolerantAnnotation]
	}
	return value, said
}

// AskAnnotations returns the annotations of an object by which the object asks. A wish that is a
// label becomes an annotation of the result.
func AskAnnotations(o metav1.Object) map[string]string {
	asks := map[string]string{}
	for _, key := range AskKeys() {
		if value, ok := o.GetAnnotations()[key]; ok {
			asks[key] = value
		}
	}
	if wish, ok := Wish(o); ok {
		asks[v1alpha1.DelayTolerantAnnotation] = wish
	}
	return asks
}

// PodAskAnnotations returns the annotations by which a pod asks. The wish of a pod that waits for clean
// nodes by its node selector is an annotation of the result.
func PodAskAnnotations(pod *corev1.Pod) map[string]string {
	asks := AskAnnotations(pod)
	if asksBySelector(pod) {
		return withSelector(asks, pod.Labels, &pod.Spec)
	}
	return asks
}

// JobAskAnnotations returns the annotations by which a Job asks. The annotations of the Job come
// before those of its pod template, and the node selector of its pods comes last.
func JobAskAnnotations(job *batchv1.Job) map[string]string {
	return RunAskAnnotations(job, nil)
}

// RunAskAnnotations returns the annotations by which a Job asks that may be a run of a CronJob. Those of
// the CronJob count where neither the Job nor its pod template says anything. The CronJob may be nil.
func RunAskAnnotations(job *batchv1.Job, c *batchv1.CronJob) map[string]string {
	return withSelector(saidOfRun(job, c), job.Spec.Template.Labels, &job.Spec.Template.Spec)
}

// saidOfRun is RunAskAnnotations without the node selector.
func saidOfRun(job *batchv1.Job, c *batchv1.CronJob) map[string]string {
	if c == nil {
		return askOf(&job.Spec.Template, job)
	}
	return askOf(c, &job.Spec.Template, job)
}

// CronJobAskAnnotations returns the annotations by which a CronJob asks for its runs. Those of the
// template of its Jobs come before those of the pod template in it, and the CronJob's own come after. The
// node selector of the pods comes last.
func CronJobAskAnnotations(c *batchv1.CronJob) map[string]string {
	template := &c.Spec.JobTemplate.Spec.Template
	return withSelector(askOf(c, template, &c.Spec.JobTemplate), template.Labels, &template.Spec)
}

// askOf returns the annotations by which objects ask. Those of a later object count before those of
// an earlier one.
func askOf(objects ...metav1.Object) map[string]string {
	ask := map[string]string{}
	for _, o := range objects {
		maps.Copy(ask, AskAnnotations(o))
	}
	return ask
}

// InheritAsk writes on a Job what its CronJob asks for in its own metadata, and neither the Job nor
// its pod template says. A wish that is a label stays a label. InheritAsk writes nothing if the Job
// then does not ask to wait.
func InheritAsk(job *batchv1.Job, c *batchv1.CronJob) {
	own, all := saidOfRun(job, nil), saidOfRun(job, c)
	if wish, said := all[v1alpha1.DelayTolerantAnnotation]; !said || wish == "false" {
		return
	}
	_, annotated := c.Annotations[v1alpha1.DelayTolerantAnnotation]
	for key, value := range all {
		_, said := own[key]
		switch {
		case said:
		case key == v1alpha1.DelayTolerantAnnotation && !annotated:
			job.Labels[key] = value
		default:
			job.Annotations[key] = value
		}
	}
}
