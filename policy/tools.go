package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

// Tool is a program that creates pods and Jobs, and gives up on those that do not start, or end, in
// time.
type Tool struct {
	// Name is what the tool's users call the tool.
	Name string
	// Marks are the labels and annotations by which the tool's work is known. A mark that ends in a
	// slash is a prefix.
	Marks []string
	// Timeout is after how long the tool gives up by default.
	Timeout time.Duration
	// LimitsWholeRun says that the work must end before the timeout. Otherwise the work must start
	// before the timeout.
	LimitsWholeRun bool
	// IsSetByWork says that the work itself sets the timeout. A deadline of the work then does not lift
	// the timeout.
	IsSetByWork bool
	// Setting is the name of the setting that changes the timeout.
	Setting string
}

// Tools returns the known tools. If the marks of several tools are on an object, the first tool
// counts.
func Tools() []Tool {
	return []Tool{
		{Name: "Airflow KubernetesExecutor", Marks: []string{"kubernetes_executor", "airflow-worker"}, Timeout: 10 * time.Minute, Setting: "task_queued_timeout"},
		{
			Name: "Airflow KubernetesPodOperator", Marks: []string{"kubernetes_pod_operator", "airflow_kpo_in_cluster", "airflow_version", "dag_id"},
			Timeout: 2 * time.Minute, Setting: "startup_timeout_seconds and schedule_timeout_seconds",
		},
		{Name: "GitLab Runner", Marks: []string{"job.runner.gitlab.com/"}, Timeout: 3 * time.Minute, Setting: "poll_timeout"},
		{Name: "Tekton", Marks: []string{"tekton.dev/taskRun"}, Timeout: time.Hour, LimitsWholeRun: true, Setting: "timeout"},
		{Name: "Helm", Marks: []string{"helm.sh/hook"}, Timeout: 5 * time.Minute, LimitsWholeRun: true, Setting: "--timeout"},
		{Name: "Argo CD", Marks: []string{"argocd.argoproj.io/hook"}, Timeout: 5 * time.Minute, LimitsWholeRun: true, Setting: "--timeout"},
		{Name: "GitHub runner container hooks", Marks: []string{"runner-pod"}, Timeout: 10 * time.Minute, Setting: "ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS"},
		{Name: "GitHub Actions Runner Controller", Marks: []string{"actions-ephemeral-runner", "actions.github.com/"}, Timeout: 24 * time.Hour, Setting: "none, a limit of GitHub"},
	}
}

// ToolOf returns the tool that has a label or an annotation as its mark, or the tool that was found
// before. If both exist, the tool that comes first in the list counts. The result is nil if there
// is neither.
func ToolOf(tools []Tool, key string, before *Tool) *Tool {
	for i := range tools {
		if tool := &tools[i]; tool == before || tool.hasMark(key) {
			return tool
		}
	}
	return nil
}

func (t *Tool) hasMark(key string) bool {
	for _, mark := range t.Marks {
		if key == mark || strings.HasSuffix(mark, "/") && strings.HasPrefix(key, mark) {
			return true
		}
	}
	return false
}

// maxStartReserve bounds the time that a wait leaves for the start of a pod. The image has to be
// pulled before the tool gives up.
const maxStartReserve = 10 * time.Minute

// longestWait returns how long work of the tool may wait.
func (t *Tool) longestWait() time.Duration { return t.Timeout - min(t.Timeout/2, maxStartReserve) }

// LatestStart returns when work must start so that the tool does not give up. The work was created
// at created and runs for longest at most.
func (t *Tool) LatestStart(created time.Time, longest time.Duration) time.Time {
	end := created.Add(t.longestWait())
	if t.LimitsWholeRun {
		return plan.LatestStart(end, longest)
	}
	return end.Truncate(time.Second).UTC()
}

// Limits reports whether the timeout limits the wait of the work that asks.
func (t *Tool) Limits(ask *Ask) bool { return t.IsSetByWork || ask.Deadline.IsZero() }

// Warning tells users of the timeout. If the timeout limits the wait, isLimited is true.
func (t *Tool) Warning(isLimited bool) string {
	if t.IsSetByWork {
		return fmt.Sprintf("%s gives up on this work %s after its creation, however long the work has waited; to let the work wait longer, raise its %s", t.Name, plan.FormatDuration(t.Timeout), t.Setting)
	}
	verb := "start"
	if t.LimitsWholeRun {
		verb = "end"
	}
	warning := fmt.Sprintf("%s by default gives up on work that does not %s within %s (setting: %s)", t.Name, verb, plan.FormatDuration(t.Timeout), t.Setting)
	if isLimited {
		return warning + "; to let the work wait longer, raise this setting and add the annotation " + v1alpha1.DeadlineAnnotation
	}
	return warning + "; with this " + strings.TrimPrefix(v1alpha1.DeadlineAnnotation, v1alpha1.Prefix) + ", the work may wait longer"
}
