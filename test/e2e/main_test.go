// Package e2e shows on a real cluster that Gridlatch does what it says: the
// shipped manifests, the built binary as its own service account, the real
// scheduler and Job controller.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// cluster is shared by the tests of this package, which run one after the
// other: the well-known forecast is one for all. Tests that stop or break the
// controller start a cluster of their own.
var (
	cluster    *env.Cluster
	controller *env.Controller
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: all tests of this package need a cluster, and -short is for tests without one")
		return
	}
	log.SetLogger(logr.Discard()) // the API server's warnings, which tests provoke
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "gridlatch-e2e-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	cluster, err = env.Run(ctx, env.Nodes(3))
	if err != nil {
		return fail(err)
	}
	defer stop(cluster.Stop)
	if err := v1alpha1.AddToScheme(cluster.Client.Scheme()); err != nil {
		return fail(err)
	}
	controller, err = cluster.RunGridlatch(ctx, filepath.Join(dir, "gridlatch.log"))
	if err != nil {
		return fail(err)
	}
	defer stop(controller.Stop)
	code := m.Run()
	if code != 0 {
		fmt.Fprintln(os.Stderr, "--- the shared controller's log\n"+controller.Log())
	}
	return code
}

func stop(f func() error) {
	if err := f(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
