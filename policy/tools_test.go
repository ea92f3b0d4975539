package policy

import (
	"strings"
	"testing"
	"time"
)

func TestToolOf(t *testing.T) {
	for keys, want := range map[string]string{
		"app":                                    "",
		"app dag_id":                             "Airflow KubernetesPodOperator",
		"airflow_version kubernetes_executor":    "Airflow KubernetesExecutor",
		"kubernetes_executor dag_id":             "Airflow KubernetesExecutor",
		"job.runner.gitlab.com/id":               "GitLab Runner",
		"job.runner.gitlab.com":                  "",
		"tekton.dev/taskRun":                     "Tekton",
		"argocd.argoproj.io/hook helm.sh/hook":   "Helm",
		"argocd.argoproj.io/hook":                "Argo CD",
		"actions.github.com/scale-set-name":      "GitHub Actions Runner Controller",
		"actions-ephemeral-runner and-something": "GitHub Actions Runner Controller",
		"runner-pod":                             "GitHub runner container hooks",
	} {
		tools, name := Tools(), ""
		var tool *Tool
		for key := range strings.SplitSeq(keys, " ") {
			tool = ToolOf(tools, key, tool)
		}
		if tool != nil {
			name = tool.Name
		}
		if name != want {
			t.Errorf("%s: it is of %q, want %q", keys, name, want)
		}
	}
}

func TestWorkOfAToolStartsBeforeThatGivesUp(t *testing.T) {
	for _, tool := range Tools() {
		for _, run := range []time.Duration{time.Second, 10 * time.Minute} {
			latest := tool.LatestStart(t0, run)
			needs := time.Duration(0)
			if tool.LimitsWholeRun {
				needs = run
			}
			if end := latest.Add(needs); !end.Before(t0.Add(tool.Timeout*3/4)) && tool.Timeout < time.Hour || !end.Before(t0.Add(tool.Timeout)) {
				t.Errorf("%s: started at %s, and gives up at %s", tool.Name, latest, t0.Add(tool.Timeout))
			}
			ask := Ask{Duration: run, Tool: &tool}
			if got := builtin().Task(ask, t0).LatestStart; !got.Equal(latest) {
				t.Errorf("%s: latest start %s, want %s", tool.Name, got, latest)
			}
			ask.Deadline = t0.Add(100 * time.Hour) // it knows better, if a setting can be raised, and the tool copies no deadline
			if got := builtin().Task(ask, t0).LatestStart; got.Before(t0.Add(99*time.Hour)) == (len(tool.Settings) > 0 && tool.InsteadOfDeadline == "") {
				t.Errorf("%s: latest start %s with a deadline of its own", tool.Name, got)
			}
		}
	}
}
