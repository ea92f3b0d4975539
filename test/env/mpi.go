package env

import (
	"context"
	"testing"
)

const mpi = "mpi/mpi"

// RunMPI installs the MPI operator and runs it beside the cluster, as its administrator, until it is stopped or this
// process ends. It returns when it runs. log is as for RunController.
func (c *Cluster) RunMPI(ctx context.Context, log string) (*Program, error) {
	if err := c.installCRDs(ctx, mpi); err != nil {
		return nil, err
	}
	p, err := c.engine(mpi)
	if err != nil {
		return nil, err
	}
	p.serveByFlags()
	return p, p.start(ctx, log)
}

// MPI installs the MPI operator and runs it, for as long as the test.
func (c *Cluster) MPI(t testing.TB) *Program {
	t.Helper()
	return during(t, c.RunMPI)
}
