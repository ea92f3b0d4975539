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
	// InsteadOfDeadline says how work can wait longer if a deadline does not lift the timeout, because
	// the tool may have copied the deadline. It is empty if a deadline lifts the timeout.
	InsteadOfDeadline string
	// Settings are the names of the settings that change the timeout, all of which must be raised.
	// Nobody can change the timeout of a tool without settings.
	Settings []string
	// WhyNeverHeld says why work of the tool is never held. It is empty if the work may be held.
	WhyNeverHeld string
}

// Tools returns the known tools. If the marks of several tools are on an object, the first tool
// counts.
func Tools() []Tool {
	return []Tool{
		{Name: "Airflow KubernetesExecutor", Marks: []string{"kubernetes_executor", "airflow-worker"}, Timeout: 10 * time.Minute, Settings: []string{"task_queued_timeout"}},
		{
			Name: "Airflow KubernetesPodOperator", Marks: []string{"kubernetes_pod_operator", "airflow_kpo_in_cluster", "airflow_version", "dag_id"},
			Timeout: 2 * time.Minute, Settings: []string{"schedule_timeout_seconds", "startup_timeout_seconds"},
		},
		{Name: "GitLab Runner", Marks: []string{"job.runner.gitlab.com/"}, Timeout: 3 * time.Minute, Settings: []string{"poll_timeout", "timeout"}},
		{
			Name: "Tekton", Marks: []string{"tekton.dev/taskRun"}, Timeout: time.Hour, LimitsWholeRun: true, Settings: []string{"timeout"},
			InsteadOfDeadline: "let Gridlatch hold the PipelineRun or TaskRun, by manifests/components/tekton",
		},
		{Name: "Helm", Marks: []string{"helm.sh/hook"}, Timeout: 5 * time.Minute, LimitsWholeRun: true, Settings: []string{"--timeout"}},
		{Name: "Argo CD", Marks: []string{"argocd.argoproj.io/hook"}, Timeout: 5 * time.Minute, LimitsWholeRun: true, Settings: []string{"--timeout"}},
		{
			Name: "GitHub runner container hooks", Marks: []string{"runner-pod"}, Timeout: 10 * time.Minute,
			WhyNeverHeld: "its GitHub runner runs already, and fails if the pod does not start soon",
		},
		{Name: "GitHub Actions Runner Controller", Marks: []string{"actions-ephemeral-runner", "actions.github.com/"}, Timeout: 24 * time.Hour},
	}
}

// LimitOfWork returns an engine as the tool that gives up on work which does not end within a limit
// after its creation. The work itself sets the limit, in a field.
func LimitOfWork(engine, field string, limit time.Duration) *Tool {
	return &Tool{Name: engine, Timeout: limit, LimitsWholeRun: true, IsSetByWork: true, Settings: []string{field}}
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

// LongestWait returns how long work of the tool may wait.
func (t *Tool) LongestWait() time.Duration { return t.Timeout - min(t.Timeout/2, maxStartReserve) }

// LatestStart returns when work must start so that the tool does not give up. The work was created
// at created and runs for longest at most.
func (t *Tool) LatestStart(created time.Time, longest time.Duration) time.Time {
	end := created.Add(t.LongestWait())
	if t.LimitsWholeRun {
		return plan.LatestStart(end, longest)
	}
	return end.Truncate(time.Second).UTC()
}

// Limits reports whether work may not wait for longer than the tool does. Whoever writes a deadline
// has raised the settings of the tool, if there are any that the work does not set itself. A tool that
// copies a deadline from another object has not.
func (t *Tool) Limits(deadline time.Time) bool {
	return t.IsSetByWork || t.InsteadOfDeadline != "" || deadline.IsZero() || len(t.Settings) == 0
}

// Warning tells users of the timeout of work with a deadline, or without one.
func (t *Tool) Warning(deadline time.Time) string {
	if t.IsSetByWork {
		return fmt.Sprintf("%s ends this work %s after its creation, even if the work has waited; to let the work wait longer, raise its %s",
			t.Name, plan.FormatDuration(t.Timeout), strings.Join(t.Settings, " and "))
	}
	verb := "start"
	if t.LimitsWholeRun {
		verb = "end"
	}
	warning := fmt.Sprintf("%s by default gives up on work that does not %s within %s", t.Name, verb, plan.FormatDuration(t.Timeout))
	if len(t.Settings) == 0 {
		return warning + ", and no setting changes this"
	}
	warning += fmt.Sprintf(" (setting: %s)", strings.Join(t.Settings, " and "))
	switch {
	case t.InsteadOfDeadline != "":
		return warning + "; to let the work wait longer, " + t.InsteadOfDeadline
	case !t.Limits(deadline):
		return warning + "; this deadline lets the work wait longer, so raise " + strings.Join(t.Settings, " and ") + " above the wait"
	case len(t.Settings) > 1:
		return warning + "; to let the work wait longer, raise both and add the annotation " + v1alpha1.DeadlineAnnotation
	default:
		return warning + "; to let the work wait longer, raise this setting and add the annotation " + v1alpha1.DeadlineAnnotation
	}
}
