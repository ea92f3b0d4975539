package gating

import (
	"context"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func builtin() *policy.Policy {
	return policy.New(context.Background(), v1alpha1.Default(), "gridlatch-system", nil, t0)
}
