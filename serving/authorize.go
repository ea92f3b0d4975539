package serving

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// An answer of the API server that lets a caller in counts for answerTime. While the API server
	// does not answer, the last answer counts for outageTime: an outage is when somebody needs the
	// metrics most.
	answerTime = time.Minute
	outageTime = 10 * time.Minute
	// reviewTimeout is how long the API server may take for its answer.
	reviewTimeout = 3 * time.Second
	// maxCallers bounds how many callers are remembered, and maxAddresses from how many addresses.
	maxCallers, maxAddresses = 64, 256
	// Of each address, the API server is asked about so many callers that it has not let in lately. So
	// whoever tries tokens does not keep others from being asked about.
	strangersPerSecond, strangersAtOnce = 1, 5
)

// Authorizer lets callers in if the API server knows their bearer token, and if their account may
// use the method on the path, by a rule of RBAC for nonResourceURLs.
//
// The filter of controller-runtime does the same. Together with that filter, most of the API server
// would be linked, and the program would be twice as large: docs/decisions.md has the figures.
type Authorizer struct {
	Clientset kubernetes.Interface
	Clock     clock.PassiveClock

	mu      sync.Mutex
	callers map[caller]time.Time // when the API server let the caller in
	paces   map[string]*rate.Limiter
}

// caller is a token, as a hash, and what its owner asked for.
type caller struct {
	token        [sha256.Size]byte
	method, path string
}

// errStranger is the error if nobody has the token, errForbidden if its owner has no right, and errTooMany if
// too many unknown callers come from one address.
var (
	errTooMany   = errors.New("too many unknown callers from this address")
	errStranger  = errors.New("the API server does not know the token")
	errForbidden = errors.New("the account has no right to the path")
)

// Handler returns a handler that passes the requests of allowed callers on. Others get the status
// 401 or 403, 429 if too many strangers come from one address, and 503 while the API server cannot be asked.
func (a *Authorizer) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		err := a.check(req)
		switch {
		case err == nil:
			next.ServeHTTP(w, req)
		case errors.Is(err, errStranger):
			http.Error(w, "want a bearer token that the API server knows", http.StatusUnauthorized)
		case errors.Is(err, errForbidden):
			http.Error(w, "the account of the token has no right to this path", http.StatusForbidden)
		case errors.Is(err, errTooMany):
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many callers that are not known yet come from this address", http.StatusTooManyRequests)
		default:
			log.FromContext(req.Context()).Error(err, "cannot find out who a caller is", "path", req.URL.Path)
			http.Error(w, "the API server cannot be asked about the token", http.StatusServiceUnavailable)
		}
	})
}

// check fails if the caller may not get an answer.
func (a *Authorizer) check(req *http.Request) error {
	scheme, token, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return errStranger
	}
	who, now := caller{sha256.Sum256([]byte(token)), req.Method, req.URL.Path}, a.Clock.Now()
	age, isKnown := a.age(who, now)
	if isKnown && age < answerTime {
		return nil
	}
	if !isKnown && !a.mayAsk(req.RemoteAddr, now) {
		return errTooMany
	}
	ctx, cancel := context.WithTimeout(req.Context(), reviewTimeout)
	defer cancel()
	err := a.ask(ctx, token, who)
	switch {
	case err == nil:
		a.remember(who, now)
	case errors.Is(err, errStranger), errors.Is(err, errForbidden):
		a.forget(who)
	case isKnown && age < outageTime:
		return nil
	}
	return err
}

// ask asks the API server who has a token, and whether the account may do what it asks for.
func (a *Authorizer) ask(ctx context.Context, token string, who caller) error {
	identity, err := a.Clientset.AuthenticationV1().TokenReviews().Create(ctx,
		&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review a token: %w", err)
	}
	if !identity.Status.Authenticated {
		return errStranger
	}
	user := identity.Status.User
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	access, err := a.Clientset.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: strings.ToLower(who.method), Path: who.path},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("review the access of an account: %w", err)
	}
	if !access.Status.Allowed {
		return errForbidden
	}
	return nil
}

// age returns how long ago the API server let a caller in.
func (a *Authorizer) age(who caller, now time.Time) (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	since, ok := a.callers[who]
	return now.Sub(since), ok
}

// remember notes that the API server has let a caller in. If there are too many callers, remember
// forgets all others.
func (a *Authorizer) remember(who caller, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.callers == nil || len(a.callers) >= maxCallers {
		a.callers = map[caller]time.Time{}
	}
	a.callers[who] = now
}

// mayAsk reports whether the API server may be asked about one more stranger from an address. If there
// are too many addresses, mayAsk forgets all others.
func (a *Authorizer) mayAsk(address string, now time.Time) bool {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	pace := a.paces[address]
	if pace == nil {
		if a.paces == nil || len(a.paces) >= maxAddresses {
			a.paces = map[string]*rate.Limiter{}
		}
		pace = rate.NewLimiter(strangersPerSecond, strangersAtOnce)
		a.paces[address] = pace
	}
	return pace.AllowN(now, 1)
}

func (a *Authorizer) forget(who caller) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.callers, who)
}
