package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// Tool is something that creates pods and Jobs, and gives up on those that are not
// started, or done, after a while.
type Tool struct {
	// Name is how its users call it.
	Name string
	// Marks are the labels and annotations by which it is known; one that ends in a
	// slash is the prefix of such.
	Marks []string
	// GivesUp is its time-out, unless somebody has changed that.
	GivesUp time.Duration
	// Whole says that the time-out is for the work to be done, and not to be started.
	Whole bool
	// Setting is what the time-out is called where it is set.
	Setting string
}

// Tools are those that are known. An object that could be of several is of the first.
func Tools() []Tool {
	return []Tool{
		{Name: "Airflow KubernetesExecutor", Marks: []string{"kubernetes_executor", "airflow-worker"}, GivesUp: 10 * time.Minute, Setting: "task_queued_timeout"},
		{
			Name: "Airflow KubernetesPodOperator", Marks: []string{"kubernetes_pod_operator", "airflow_kpo_in_cluster", "airflow_version", "dag_id"},
			GivesUp: 2 * time.Minute, Setting: "startup_timeout_seconds and schedule_timeout_seconds",
		},
		{Name: "GitLab Runner", Marks: []string{"job.runner.gitlab.com/"}, GivesUp: 3 * time.Minute, Setting: "poll_timeout"},
		{Name: "Tekton", Marks: []string{"tekton.dev/taskRun"}, GivesUp: time.Hour, Whole: true, Setting: "timeout"},
		{Name: "Helm", Marks: []string{"helm.sh/hook"}, GivesUp: 5 * time.Minute, Whole: true, Setting: "--timeout"},
		{Name: "Argo CD", Marks: []string{"argocd.argoproj.io/hook"}, GivesUp: 5 * time.Minute, Whole: true, Setting: "--timeout"},
		{Name: "GitHub runner container hooks", Marks: []string{"runner-pod"}, GivesUp: 10 * time.Minute, Setting: "ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS"},
		{Name: "GitHub Actions Runner Controller", Marks: []string{"actions-ephemeral-runner", "actions.github.com/"}, GivesUp: 24 * time.Hour, Setting: "none, GitHub's own"},
	}
}

// ToolOf returns of some tools the one that an object is of by one of its labels or
// annotations, or the one that it was known to be of before, whichever is first; nil
// if of none.
func ToolOf(tools []Tool, key string, before *Tool) *Tool {
	for i := range tools {
		if tool := &tools[i]; tool == before || tool.marks(key) {
			return tool
		}
	}
	return nil
}

func (t *Tool) marks(key string) bool {
	for _, mark := range t.Marks {
		if key == mark || strings.HasSuffix(mark, "/") && strings.HasPrefix(key, mark) {
			return true
		}
	}
	return false
}

// mostStarting bounds what is kept free for the start of a pod, whose image has to
// be pulled before its tool gives up.
const mostStarting = 10 * time.Minute

// hold returns how long the tool leaves for a wait.
func (t *Tool) hold() time.Duration { return t.GivesUp - min(t.GivesUp/2, mostStarting) }

// LatestStart returns when work of this tool must start for the tool not to give
// up on it, if it was created at created and may run for so long.
func (t *Tool) LatestStart(created time.Time, longest time.Duration) time.Time {
	end := created.Add(t.hold())
	if t.Whole {
		return plan.LatestStart(end, longest)
	}
	return end.Truncate(time.Second).UTC()
}

// Warning tells of the time-out. Bounded says that no hold is longer than that.
func (t *Tool) Warning(bounded bool) string {
	what := "has not started"
	if t.Whole {
		what = "is not done"
	}
	warning := fmt.Sprintf("%s gives up on what %s after %s (%s, if you have not changed it)", t.Name, what, plan.FormatDuration(t.GivesUp), t.Setting)
	if bounded {
		return warning + "; to have it wait longer, raise that, and add the annotation " + v1alpha1.DeadlineAnnotation
	}
	return warning + "; with this " + strings.TrimPrefix(v1alpha1.DeadlineAnnotation, v1alpha1.Prefix) + " it may wait longer"
}
