package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildPlugin returns the path of the plugin as it is built for users.
func buildPlugin(t *testing.T) string {
	t.Helper()
	plugin := filepath.Join(t.TempDir(), "kubectl-gridlatch")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", plugin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return plugin
}

// exitCode returns the exit code of a command that has ended, or of a shell that has run one.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

// TestTheBuiltPluginFetches runs the plugin as users do: with pipes, exit codes and Ctrl-C.
func TestTheBuiltPluginFetches(t *testing.T) {
	plugin := buildPlugin(t)
	now := time.Now()
	good := serveGrid(t, energyCharts(now))
	shell := func(t *testing.T, line string, variables ...string) (code int, stdout, stderr string) {
		t.Helper()
		var out, errs strings.Builder
		command := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", line)
		command.Env = append(append(os.Environ(), "PLUGIN="+plugin, "KUBECONFIG=/nowhere"), variables...)
		command.Dir, command.Stdout, command.Stderr = t.TempDir(), &out, &errs
		return exitCode(t, command.Run()), out.String(), errs.String()
	}

	t.Run("into a pipe", func(t *testing.T) {
		const line = `$PLUGIN fetch --region eu-west-2 --since 20d --base-url $URL | $PLUGIN simulate --actual - --policy gridlatch`
		code, stdout, stderr := shell(t, line, "URL="+serveGrid(t, ukCarbonIntensity).URL)
		if code != 0 || !strings.Contains(stdout, "slots of 30m") || !strings.Contains(stdout, "Gridlatch saved ") || !strings.Contains(stderr, "CC BY 4.0") {
			t.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
	})
	t.Run("a forecast into a pipe", func(t *testing.T) {
		const line = `$PLUGIN fetch --provider energy-charts --zone DE --forecast -o json --base-url $URL | $PLUGIN plan -`
		code, stdout, stderr := shell(t, line, "URL="+good.URL)
		if code != 0 || !strings.Contains(stdout, "gCO2eq/kWh in DE") {
			t.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
	})
	t.Run("into a pipe that nobody reads", func(t *testing.T) {
		const line = `$PLUGIN fetch --provider mock --zone DE --since 366d | head -c 20 >/dev/null; echo ${PIPESTATUS[0]}; ls -A`
		code, stdout, stderr := shell(t, line)
		if signal := fmt.Sprint(128 + int(syscall.SIGPIPE)); code != 0 || strings.TrimSpace(stdout) != signal || strings.Contains(stderr, "panic") {
			t.Errorf("exit code %d, want %s and no file: %q %s", code, signal, stdout, stderr)
		}
	})
	t.Run("with a key of the environment", func(t *testing.T) {
		s := serveGrid(t, electricityMaps(now, "history"))
		const line = `$PLUGIN fetch --provider electricity-maps --region eu-central-1 --since 3d --base-url $URL`
		code, stdout, stderr := shell(t, line, "URL="+s.URL, "ELECTRICITY_MAPS_TOKEN=em-key-123")
		if code != exitPartial || strings.Count(stdout, "\n") < 24 || !strings.Contains(stderr, "not in this plan") || strings.Contains(stderr, "em-key") {
			t.Errorf("exit code %d, want %d: %s%s", code, exitPartial, stdout, stderr)
		}
	})
	t.Run("until Ctrl-C", func(t *testing.T) {
		reached := make(chan struct{}, 10)
		slow := serveGrid(t, func(w http.ResponseWriter, r *http.Request) any {
			if len(reached) == 1 { // the second page never comes
				reached <- struct{}{}
				<-r.Context().Done()
				return nil
			}
			reached <- struct{}{}
			return ukCarbonIntensity(w, r)
		})
		dir := t.TempDir()
		command := exec.CommandContext(t.Context(), plugin, "fetch", "--provider", "uk-carbon-intensity", "--zone", "GB", "--since", "40d", "--base-url", slow.URL, "--file", filepath.Join(dir, "DE.csv"))
		var errs strings.Builder
		command.Stderr = &errs
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); len(reached) < 2 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if err := command.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if code := exitCode(t, command.Wait()); code != exitFailure || errs.String() != "interrupted\n" {
			t.Errorf("exit code %d, stderr %q", code, errs.String())
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s is left", left)
		}
	})
}
