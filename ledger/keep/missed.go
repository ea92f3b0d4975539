package keep

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/gating/hold"
)

// maxLookUps bounds for how many groups a pass asks the API server for pods. There are so many only after
// the webhook was away for long.
const maxLookUps = 50

// hasMissed reports whether more pods of a Job have ended than the watches have brought, and may still exist.
func (g *group) hasMissed() bool {
	o := g.owner
	return o != nil && o.Kind == hold.JobKind().Kind && o.Gone.IsZero() && g.folded == nil && int(o.Succeeded)+int(o.FailedPods) > len(g.pods)
}

// findMissed adds to groups the pods that no watch has brought. A pod that was created while the webhook
// was away has no label that speaks of Gridlatch, although its Job has one.
func (k *Keeper) findMissed(ctx context.Context, due []*group, now time.Time) error {
	asked := 0
	for _, g := range due {
		if k.Pods == nil || !g.hasMissed() || asked == maxLookUps {
			continue
		}
		asked++
		var pods corev1.PodList
		err := k.Pods.List(ctx, &pods, client.InNamespace(g.owner.Namespace), client.MatchingLabels{batchv1.ControllerUidLabel: string(g.uid)}, client.Limit(listPageSize))
		if err != nil {
			return fmt.Errorf("look for the pods of Job %s/%s: %w", g.owner.Namespace, g.owner.Name, err)
		}
		for i := range pods.Items {
			found := podOf(&pods.Items[i], watchPods, now)
			if found == nil || found.Owner.UID != g.uid || slices.ContainsFunc(g.pods, func(p *pod) bool { return p.UID == found.UID }) {
				continue
			}
			found.nodeLabels = k.nodeLabels(found.Node)
			g.pods = append(g.pods, found)
		}
	}
	return nil
}
