package backup

import (
	"context"

	"github.com/springtide/springtide"
)

func (k *Keeper) drill(context.Context, springtide.Run, Subject) (any, error) {
	return nil, springtide.Errorf(springtide.Unavailable, "drills are not carried out yet")
}
