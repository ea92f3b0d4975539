package policy

import (
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// QuotaLabel is a label that Kueue writes on a pod, or in the pod template of a Job, when it gives quota to the
// work.
const QuotaLabel = "kueue.x-k8s.io/podset"

// waitsForClean reports whether pods with labels and a spec run only on nodes with the label
// [v1alpha1.CarbonStatusKey] and the value [v1alpha1.LowIntensity], and wait for such nodes. Once Kueue has
// given quota to the pods, they do not: Kueue adds the node labels of its ResourceFlavor to the node selector,
// so nobody may have asked, and work that waits would keep its quota.
func waitsForClean(labels map[string]string, spec *corev1.PodSpec) bool {
	_, hasQuota := labels[QuotaLabel]
	return !hasQuota && selectsClean(spec)
}

// selectsClean reports whether a spec has pods run on clean nodes only. The node selector may say so, or the
// required node affinity in each of its terms, any of which is enough for a node. webhook.yaml,
// admission.yaml and unheard.yaml say the same.
func selectsClean(spec *corev1.PodSpec) bool {
	if spec.NodeSelector[v1alpha1.CarbonStatusKey] == v1alpha1.LowIntensity {
		return true
	}
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return false
	}
	required := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil || len(required.NodeSelectorTerms) == 0 {
		return false
	}
	return !slices.ContainsFunc(required.NodeSelectorTerms, func(term corev1.NodeSelectorTerm) bool {
		return !slices.ContainsFunc(term.MatchExpressions, isLowIntensity)
	})
}

func isLowIntensity(e corev1.NodeSelectorRequirement) bool {
	return e.Key == v1alpha1.CarbonStatusKey && e.Operator == corev1.NodeSelectorOpIn && slices.Equal(e.Values, []string{v1alpha1.LowIntensity})
}

// AskBySelector gives a pod the wish to wait that waits for clean nodes by its node selector, and says
// nothing else. It gives no pod of a Job the wish, because the Job has the decision. It gives no pod of a
// DaemonSet the wish: such a pod belongs to a node, and the selector only says to which.
func AskBySelector(pod *corev1.Pod) {
	if _, said := Wish(pod); !said && asksBySelector(pod) {
		metav1.SetMetaDataAnnotation(&pod.ObjectMeta, v1alpha1.DelayTolerantAnnotation, "true")
	}
}

func asksBySelector(pod *corev1.Pod) bool {
	owner := metav1.GetControllerOfNoCopy(pod)
	isOf := func(group, kind string) bool {
		return owner != nil && owner.Kind == kind && strings.HasPrefix(owner.APIVersion, group+"/")
	}
	return waitsForClean(pod.Labels, &pod.Spec) && !isOf("batch", "Job") && !isOf("apps", "DaemonSet")
}

// JobAsksBySelector gives a Job the wish to wait whose pods wait for clean nodes by their node selector,
// if neither the Job nor its pod template nor its CronJob says anything else. The CronJob may be nil.
func JobAsksBySelector(job *batchv1.Job, c *batchv1.CronJob) {
	_, said := saidOfRun(job, c)[v1alpha1.DelayTolerantAnnotation]
	if !said && waitsForClean(job.Spec.Template.Labels, &job.Spec.Template.Spec) {
		metav1.SetMetaDataAnnotation(&job.ObjectMeta, v1alpha1.DelayTolerantAnnotation, "true")
	}
}

// withSelector adds the wish to wait to what an object asks for, if its pods have the labels and the spec, and
// nothing else is said.
func withSelector(ask, labels map[string]string, spec *corev1.PodSpec) map[string]string {
	if _, said := ask[v1alpha1.DelayTolerantAnnotation]; !said && waitsForClean(labels, spec) {
		ask[v1alpha1.DelayTolerantAnnotation] = "true"
	}
	return ask
}
