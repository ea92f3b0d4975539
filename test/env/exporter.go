package env

import (
	"context"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// RunExporter starts `gridlatch export` as its own service account with exactly the rights of the shipped manifests, and
// returns when it is ready. log is as for RunController. args are flags, and NAME=VALUE for its environment, as in
// RunExporter(ctx, log, "HTTPS_PROXY=http://127.0.0.1:3128", "--ca-file=ca.crt").
func (c *Cluster) RunExporter(ctx context.Context, log string, args ...string) (*Program, error) {
	kubeconfig, err := c.accountKubeconfig(ctx, "gridlatch-export")
	if err != nil {
		return nil, err
	}
	isVariable := func(arg string) bool { return !strings.HasPrefix(arg, "--") }
	flags := slices.DeleteFunc(slices.Clone(args), isVariable)
	p, err := command("gridlatch", append([]string{"export", "--kubeconfig=" + kubeconfig}, flags...)...)
	if err != nil {
		return nil, err
	}
	p.cmd.Env = append(os.Environ(), slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return !isVariable(arg) })...)
	// It may share its lease with another that goes on: it is not to outlive this process.
	p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return p, p.start(ctx, log)
}

// Exporter runs one exporter, for as long as the test.
func (c *Cluster) Exporter(t testing.TB, args ...string) *Program {
	t.Helper()
	return during(t, func(ctx context.Context, log string) (*Program, error) { return c.RunExporter(ctx, log, args...) })
}
