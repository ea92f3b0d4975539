package local

import (
	"context"
	"fmt"
	"os"
)

// etcdListens is about the socket only: the API server's readiness includes a healthy etcd.
func (s *supervisor) etcdListens(context.Context) error {
	_, err := os.Stat(s.dir.file(etcdClientSocket))
	return err
}

func (s *supervisor) createNodes(ctx context.Context) error {
	return s.api.createNodes(ctx, s.options.Nodes, s.options.Labels)
}

func (s *supervisor) nodesReady(ctx context.Context) error {
	n, err := s.api.schedulableNodes(ctx)
	if err == nil && n < s.options.Nodes {
		err = fmt.Errorf("%d of %d nodes are ready", n, s.options.Nodes)
	}
	return err
}

func (s *supervisor) schedulerHealthy(ctx context.Context) error {
	return s.api.healthy(ctx, s.settings.schedulerPort)
}
