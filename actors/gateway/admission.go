package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/blixard/blixard/vm"
)

// Limits bounds what callers may ask of the door at once. A zero field takes its default.
type Limits struct {
	Body           int           // bytes of one request's body
	Bodies         int           // bytes of all bodies that are larger than most
	Arrival        time.Duration // how long a body may take to arrive
	ArrivingByUser int           // requests of one user whose body has not arrived; four times as many of root and ourselves
	Short          int           // short requests under way; more wait
	ShortByUser    int           // of one user, root and ourselves apart
	Long           int           // streams and waits under way
	LongByUser     int           // of one user, root and ourselves apart
	PerSecond      float64       // requests of one user
	Burst          int           // requests of one user at once
	Patience       time.Duration // how long a request is held back before it is refused
}

// The defaults. A long request holds a descriptor and some 20 KiB, a short one
// its body and its answer; a turn takes one sync, so that 2,000 requests a second
// are more than a disk can follow. A body comes from this machine, and in a
// moment; as many may be on their way as a user has connections.
const (
	defaultBody           = 1 << 20
	defaultBodies         = 64 << 20
	defaultArrival        = 5 * time.Second
	defaultArrivingByUser = 512
	defaultShort          = 256
	defaultShortByUser    = 64
	defaultLong           = 3072
	defaultLongByUser     = 128
	defaultPerSecond      = 2000
	defaultPatience       = 2 * time.Second
	rememberedUsers       = 1024
	trustedFactor         = 4
)

func (l Limits) filled() Limits {
	fill(&l.Body, defaultBody)
	fill(&l.Bodies, defaultBodies)
	fill(&l.Arrival, defaultArrival)
	fill(&l.ArrivingByUser, defaultArrivingByUser)
	fill(&l.Short, defaultShort)
	fill(&l.ShortByUser, defaultShortByUser)
	fill(&l.Long, defaultLong)
	fill(&l.LongByUser, defaultLongByUser)
	fill(&l.PerSecond, defaultPerSecond)
	fill(&l.Burst, int(l.PerSecond))
	fill(&l.Patience, defaultPatience)
	return l
}

func fill[T comparable](field *T, with T) {
	var unset T
	if *field == unset {
		*field = with
	}
}

// admission counts who is inside.
type admission struct {
	limits Limits
	self   int
	short  *semaphore.Weighted

	mu    sync.Mutex
	long  int
	bytes int // of bodies, beyond what is free
	users map[int]*user
}

type user struct {
	rate        *rate.Limiter
	short, long int
	arriving    int
	bytes       int
}

func (u *user) idle() bool { return u.short == 0 && u.long == 0 && u.arriving == 0 && u.bytes == 0 }

func newAdmission(l Limits, self int) *admission {
	l = l.filled()
	return &admission{limits: l, self: self, short: semaphore.NewWeighted(int64(l.Short)), users: map[int]*user{}}
}

// trusts says whose own mistakes are not ours to bound: root and ourselves.
func (a *admission) trusts(uid int) bool { return uid == 0 || uid == a.self }

// enter lets a request in, or refuses it with the numbers; leave lets go of its place.
func (a *admission) enter(ctx context.Context, uid int, k kind) (leave func(), r *vm.Refusal) {
	u, r := a.claim(uid, k)
	if r != nil {
		return nil, r
	}
	out := func() { a.giveBack(u, k) }
	if k != short {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.limits.Patience)
	defer cancel()
	if a.short.Acquire(ctx, 1) != nil {
		out()
		return nil, busy(fmt.Sprintf("%d requests are under way already and none ended within %s", a.limits.Short, a.limits.Patience))
	}
	return func() { a.short.Release(1); out() }, nil
}

// claim counts the request as its user's.
func (a *admission) claim(uid int, k kind) (*user, *vm.Refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.userOf(uid)
	trusted := a.trusts(uid)
	switch {
	case k == short && !trusted && u.short >= a.limits.ShortByUser:
		return nil, busy(fmt.Sprintf("uid %d has %d requests under way, as many as it may", uid, u.short))
	case k != short && a.long >= a.limits.Long:
		return nil, busy(fmt.Sprintf("%d streams and waits are open, as many as the node allows", a.long))
	case k != short && !trusted && u.long >= a.limits.LongByUser:
		return nil, busy(fmt.Sprintf("uid %d has %d streams and waits open, as many as it may", uid, u.long))
	case k == short:
		u.short++
	default:
		u.long++
		a.long++
	}
	return u, nil
}

func (a *admission) giveBack(u *user, k kind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if k == short {
		u.short--
		return
	}
	u.long--
	a.long--
}

// userOf finds the user's counters; those who do nothing are forgotten when
// there are too many.
func (a *admission) userOf(uid int) *user {
	if u, ok := a.users[uid]; ok {
		return u
	}
	if len(a.users) >= rememberedUsers {
		for other, u := range a.users {
			if u.idle() {
				delete(a.users, other)
			}
		}
	}
	u := &user{rate: rate.NewLimiter(rate.Limit(a.limits.PerSecond), a.limits.Burst)}
	a.users[uid] = u
	return u
}

// pace holds a request back until its user's rate allows it.
func (a *admission) pace(ctx context.Context, u *user) *vm.Refusal {
	turn := u.rate.Reserve()
	wait := turn.Delay()
	if wait == 0 {
		return nil
	}
	if wait > a.limits.Patience {
		turn.Cancel()
		return busy(fmt.Sprintf("more than %v requests a second came from one user", a.limits.PerSecond))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		turn.Cancel()
		return busy("the caller went away")
	}
}

func busy(why string) *vm.Refusal {
	return &vm.Refusal{Code: vm.Unavailable, Why: why, Try: "ask again in a moment, and less often"}
}
