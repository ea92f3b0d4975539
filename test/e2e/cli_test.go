package e2e

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// plugin runs the user's command as the administrator.
func plugin(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return pluginAs(t, cluster.Kubeconfig, args...)
}

// pluginAs runs it as whom a kubeconfig says.
func pluginAs(t *testing.T, kubeconfig string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "../../bin/kubectl-gridlatch", append(args, "--kubeconfig="+kubeconfig)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func wantPrinted(t *testing.T, texts []string, args ...string) {
	t.Helper()
	stdout, stderr, err := plugin(t, args...)
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, stderr)
	}
	for _, text := range texts {
		if !strings.Contains(stdout, text) {
			t.Errorf("%v does not say %q:\n%s%s", args, text, stdout, stderr)
		}
	}
}

func TestCLIExplainsAndReleasesWhatIsHeld(t *testing.T) {
	dirtyThenClean(t, cluster, 5*time.Minute)
	ns := namespace(t, cluster)
	report, bounded := job(ns, "report", tolerant(), 2), suspending(ns, "bounded")
	create(t, cluster, report, bounded, pod(ns, "bare", tolerant()))
	pods := awaitGated(t, cluster, ns, 3)
	wantPrinted(t, []string{
		"job/report in namespace " + ns + " waits until", "120 gCO2eq/kWh in CAISO_NORTH, 72 % less than the 430",
		"on 2 pods", "at once", "planned", "█ run", "start",
	}, "explain", "job", "report", "-n", ns, "--signals")
	wantPrinted(t, []string{"Start at ", "120 gCO2eq/kWh in CAISO_NORTH, 72 % less than the 430", "█ run"},
		"plan", "--duration", "2s", "--deadline", "10m")
	wantPrinted(t, []string{"spec.suspend of the Job"}, "explain", "bounded", "-n", ns)
	wantPrinted(t, []string{"CAISO_NORTH", "430", "holds 6 pods in 3 groups", "Pods that start, by the hour"}, "status", "-n", ns)
	for _, p := range pods {
		if p.Name == "bare" {
			continue
		}
		if _, stderr, err := plugin(t, "release", "pod", p.Name, "-n", ns); err == nil || !strings.Contains(stderr, "release job/report") {
			t.Errorf("a pod of a held Job was released by itself: %v, %s", err, stderr)
		}
	}
	wantPrinted(t, []string{"job/report released, 2 pods", "job/bounded released, 3 pods", "pod/bare released, 1 pod"},
		"release", "report", "bounded", "bare", "-n", ns)
	awaitScheduled(t, cluster, ns, 6, patience)
	for _, name := range []string{"report", "bounded"} {
		if done := awaitComplete(t, cluster, ns, name); !strings.HasPrefix(done.Annotations[v1alpha1.ReasonAnnotation], "released by hand at ") {
			t.Errorf("%s: reason %q", name, done.Annotations[v1alpha1.ReasonAnnotation])
		}
	}
	wantPrinted(t, []string{"started at", "released by hand at"}, "explain", "job/report", "-n", ns)
	wantPrinted(t, []string{"holds 0 pods in 0 groups"}, "status", "-n", ns)
}

func TestCLIHoldsAJobThatHasNotStarted(t *testing.T) {
	clean := dirtyThenClean(t, cluster, 12*time.Second)
	ns := namespace(t, cluster)
	idle := job(ns, "idle", map[string]string{v1alpha1.DurationAnnotation: "2s"}, 0)
	idle.Spec.Completions = nil
	busy := job(ns, "busy", nil, 1)
	create(t, cluster, idle, busy)
	awaitScheduled(t, cluster, ns, 1, patience)
	wantPrinted(t, []string{"job/idle held: waits until"}, "hold", "job", "idle", "-n", ns, "--deadline", "10m")
	awaitJob(t, cluster, idle, patience, wantSuspended(true, v1alpha1.StateHeld))
	if _, stderr, err := plugin(t, "hold", "job", "idle", "-n", ns); err == nil || !strings.Contains(stderr, "it is already held") {
		t.Errorf("it was held twice: %v, %s", err, stderr)
	}
	awaitJob(t, cluster, idle, 12*time.Second+patience, wantSuspended(false, v1alpha1.StateReleased))
	if now := time.Now(); now.Before(clean) {
		t.Errorf("it was resumed before %s", clean)
	}
	if reason := idle.Annotations[v1alpha1.ReasonAnnotation]; !regexp.MustCompile(`\b12\d gCO2eq/kWh`).MatchString(reason) || !strings.HasSuffix(reason, "it still waits for parallelism 0") {
		t.Errorf("reason %q", reason)
	}
	// held again after its release, it is not forgotten
	dirtyThenClean(t, cluster, 6*time.Second)
	wantPrinted(t, []string{"job/idle held: waits until"}, "hold", "job", "idle", "-n", ns, "--deadline", "10m")
	awaitJob(t, cluster, idle, 6*time.Second+patience, wantSuspended(false, v1alpha1.StateReleased))
}

func TestCLILetsNoStrangerWriteToTheTerminal(t *testing.T) {
	const clear = "\x1b[2J\x1b]0;t\a\r\nCarbonPolicy forged\u009b8m\u202e"
	ns := namespace(t, cluster)
	forge(t, pod(ns, "stranger", nil), v1alpha1.StateReleased, map[string]string{v1alpha1.ReasonAnnotation: "waits" + clear})
	create(t, cluster, job(ns, "stranger", map[string]string{v1alpha1.PolicyAnnotation: "nightly" + clear}, 0))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"explain", "pod", "stranger", "-n", ns}, `waits\x1b[2J`},
		{[]string{"explain", "pod", "stranger", "-n", ns, "-o", "json"}, `waits\u001b[2J`},
		{[]string{"explain", "pod", "stranger", "-n", ns, "-o", "yaml"}, `waits\e[2J`},
		{[]string{"hold", "job", "stranger", "-n", ns}, `nightly\x1b[2J`},
		{[]string{"release", "job", "stranger", "-n", ns}, "job/stranger"},
		{[]string{"status"}, "CarbonPolicy default"},
	} {
		stdout, stderr, _ := plugin(t, tt.args...) // it may fail: what it says counts
		strange := func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
		if said := stdout + stderr; strings.ContainsFunc(said, strange) || strings.Contains(said, "\nCarbonPolicy forged") || !strings.Contains(said, tt.want) {
			t.Errorf("%v says %q, want no control characters, and %s", tt.args, said, tt.want)
		}
	}
}
