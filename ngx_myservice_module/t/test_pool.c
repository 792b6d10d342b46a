/*
 * States and transitions of the pool by example; pool_world.h has the
 * language.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "pool/state.h"
#include "harness.h"
#include "pool_world.h"


#define STEPS  32


typedef struct {
    const char  *title;
    const char  *steps[STEPS];
} case_t;


static const case_t  cases[] = {

    { "a session has its instance for itself",
      { "add x", "claim a NEW", "is x tentative a", "claim b BUSY",
        "confirm a", "is x leased a", "claim a HIT", "claim b BUSY" } },

    { "nobody is a member",
      { "claim a EMPTY", "add x", "remove x", "claim a EMPTY",
        "count unused 4" } },

    { "all are leased to others",
      { "add x", "add y", "add z", "claim a NEW", "claim b NEW",
        "claim c NEW", "count free 0", "claim d BUSY", "claim a HIT",
        "claim b HIT", "claim c HIT" } },

    /* tentative */

    { "a first call that fails gives the instance back",
      { "add x", "claim a NEW", "back a", "is x free", "claim b NEW" } },

    { "calls share a claim, the last one gives back",
      { "add x", "claim a NEW", "keep a a1", "claim a HIT", "back a",
        "is x tentative a", "back a1", "is x free" } },

    { "a call that was confirmed keeps it",
      { "add x", "claim a NEW", "keep a a1", "claim a HIT", "confirm a1",
        "back a", "is x leased a" } },

    { "a lost first call costs the idle time",
      { "at 5", "add x", "claim a NEW", "at 1004", "is x tentative a",
        "at 1005", "is x free", "lost a" } },

    { "a tentative lease is not kept when its instance fails",
      { "add x", "claim a NEW", "fail a", "is x down -", "lost a",
        "fail a", "confirm a", "back a", "is x down -" } },

    { "health does not end a tentative lease",
      { "add x", "claim a NEW", "down x", "is x tentative a", "up x",
        "is x tentative a", "back a", "is x free" } },

    { "what is given back is down when its checks failed",
      { "health x", "health y", "claim a NEW", "down @a", "back a",
        "is @a down", "keep a old", "claim a NEW", "is @old down",
        "is @a tentative a", "up @old", "is @old free" } },

    { "so it is when its lease ends, whoever had it",
      { "health x", "claim a NEW", "down x", "confirm a", "is x leased a",
        "end x", "is x down", "up x", "claim a NEW", "down x", "at 1000",
        "is x down", "up x", "is x free" } },

    { "a session without success moves away from failed checks",
      { "health x", "health y", "claim a NEW", "keep a old", "down @a",
        "request a", "claim a MOVED", "is @old down", "lost old",
        "confirm old", "is @a tentative a" } },

    { "and stays where there is no other",
      { "health x", "claim a NEW", "down x", "request a", "claim a HIT",
        "confirm a", "is x leased a", "down x", "is x down a" } },

    { "drained meanwhile: down when it is drained no more",
      { "health x", "drain x", "down x", "is x left", "undrain x",
        "is x down", "drain x", "up x", "undrain x", "is x free" } },

    /* sessions that another instance serves */

    { "an instance that names a session of another one",
      { "health x", "health y", "at 1", "claim a NEW", "confirm a",
        "keep a old", "down @old", "claim a MOVED", "at 9",
        "learn @old a 8", "is @old foreign a", "quiet @old", "confirm a",
        "tell @old", "quiet @a", "at 10", "learn @old - 10",
        "is @old free" } },

    { "the session does not come back to it meanwhile",
      { "health x", "health y", "at 1", "claim a NEW", "confirm a",
        "keep a old", "down @old", "claim a MOVED", "confirm a", "at 9",
        "learn @old a 8 50", "at 58", "tell @old", "release a",
        "request a", "claim a BUSY", "at 557", "is @old foreign a",
        "request a", "claim a BUSY", "at 558", "is @old free",
        "claim a NEW" } },

    { "both were learned, or the other one is down: who knows",
      { "health x", "health y", "at 9", "learn x a 8", "learn y a 8",
        "is y foreign a", "quiet y", "claim a REBUILT", "tell y",
        "down x", "quiet y" } },

    { "foreign ones count for nobody: the down ones are tried",
      { "health x", "health y", "health z", "at 9", "learn x a 8",
        "learn y a 8", "down x", "down z", "is x down a", "end x",
        "is x down", "is y foreign a", "claim b NEW" } },

    { "nor after it was asked, until it has said what became of it",
      { "health x", "health y", "at 1", "claim a NEW", "confirm a",
        "keep a old", "down @old", "claim a MOVED", "confirm a",
        "keep a new", "at 9", "learn @old a 8", "tell @old", "at 19",
        "learn @old a 18", "is @old foreign a", "release a",
        "claim a REBUILT", "is @old leased a" } },

    /* suspects */

    { "another one is next after a first call without answer",
      { "add x", "add y", "at 1", "claim a NEW", "keep a old", "late a",
        "is @old suspect", "claim a NEW", "late a", "is @a suspect",
        "up @old", "claim b NEW", "keep b c", "back b", "claim a NEW",
        "is @old tentative a" } },

    { "all are suspect: one of them",
      { "add x", "at 1", "claim a NEW", "late a", "is x suspect",
        "claim a NEW", "late a", "claim b NEW", "confirm b",
        "is x leased b", "end x", "is x free", "count free 1" } },

    { "of the suspects the one that has been so for longest",
      { "add x", "add y", "at 1", "claim a NEW", "keep a one", "late a",
        "at 2", "claim a NEW", "late a", "keep a two", "at 3", "claim b NEW",
        "late b", "is @b suspect", "claim a NEW", "late a", "claim b NEW",
        "late b", "is @one suspect", "is @two suspect" } },

    { "a check that passed meanwhile knows better",
      { "add x", "at 1", "claim a NEW", "at 2", "up x", "at 3", "late a",
        "is x free", "claim a NEW", "late a", "is x suspect", "up x",
        "is x free", "down x", "is x down" } },

    { "it is not suspect for ever",
      { "add x", "at 1", "claim a NEW", "late a", "at 10000",
        "is x suspect", "at 10001", "is x free" } },

    { "calls that go on do not keep the session there",
      { "add x", "add y", "at 1", "claim a NEW", "claim a HIT",
        "keep a old", "late a", "is @old tentative a", "claim a MOVED",
        "is @old suspect", "is @a tentative a", "lost old" } },

    { "a first call may be the release",
      { "add x", "claim a NEW", "release a", "is x left" } },

    /* idle time */

    { "use keeps a lease alive",
      { "add x", "claim a NEW", "confirm a", "at 999", "touch a",
        "at 1998", "is x leased a", "claim a HIT", "at 2997",
        "is x leased a", "at 2998", "is x free", "lost a", "claim b NEW" } },

    { "a lease that ended is not found before it was cleared",
      { "add x", "claim a NEW", "confirm a", "now 1000", "lost a",
        "release a", "is x leased a", "claim a NEW", "is x tentative a" } },

    { "a clock that is behind takes nothing away",
      { "at 500", "add x", "claim a NEW", "now 400", "touch a", "at 1499",
        "is x tentative a", "at 1500", "is x free" } },

    /* release */

    { "a release waits until the instance is back",
      { "add x", "claim a NEW", "confirm a", "release a", "is x left",
        "claim a EMPTY", "claim b EMPTY", "lost a", "at 99", "is x left",
        "at 100", "is x free", "claim b NEW" } },

    { "health brings it back earlier, or keeps it away",
      { "add x", "claim a NEW", "release a", "at 50", "down x",
        "is x left", "at 100", "is x left", "at 149", "is x left", "up x",
        "is x free" } },

    { "a late call of the released lease has no effect",
      { "add x", "claim a NEW", "keep a old", "release a", "at 100",
        "claim b NEW", "fail old", "release old", "back old", "confirm old",
        "conflict old c", "lost old", "is x tentative b" } },

    { "the same session again has another lease",
      { "add x", "claim a NEW", "keep a old", "back a", "claim a NEW",
        "confirm a", "fail old", "is x leased a" } },

    /* failure */

    { "a failed instance keeps its owner until he moves",
      { "add x", "add y", "claim a NEW", "confirm a", "keep a old",
        "fail a", "is @old down a", "request a", "claim a MOVED",
        "is @a tentative a", "is @old down -", "lost old", "claim b BUSY",
        "at 100", "is @old free", "claim b NEW" } },

    { "fail twice is fail once",
      { "add x", "claim a NEW", "confirm a", "fail a", "at 50", "fail a",
        "at 100", "is x leased a" } },

    { "nothing is free: the own one once more, once a request",
      { "add x", "add y", "claim b NEW", "confirm b", "claim a NEW",
        "confirm a", "fail a", "request a", "claim a HIT", "is @a leased a",
        "fail a", "claim a BUSY", "is @a down a", "request a",
        "claim a HIT" } },

    { "its own one is the only one",
      { "add x", "claim a NEW", "confirm a", "fail a", "request a",
        "claim a HIT", "fail a", "claim a UNAVAILABLE" } },

    { "retry time: back to the owner",
      { "add x", "claim a NEW", "confirm a", "fail a", "at 100",
        "is x leased a", "claim b BUSY", "claim a HIT" } },

    { "the lease of a failed instance ends as well",
      { "add x", "claim a NEW", "confirm a", "at 990", "fail a",
        "is x down a", "at 1000", "is x down -", "at 1090", "is x free" } },

    { "both at once",
      { "add x", "claim a NEW", "confirm a", "at 900", "fail a", "at 1000",
        "is x free" } },

    { "health: down and up",
      { "add x", "down x", "is x down -", "claim a NEW", "back a", "down x",
        "at 50", "down x", "at 149", "is x down -", "up x", "is x free",
        "claim a NEW", "confirm a", "down x", "is x down a", "up x",
        "is x leased a", "claim a HIT" } },

    { "down ones are tried, each once, when none is up",
      { "add x", "add y", "add z", "down x", "down y", "down z",
        "claim a NEW", "fail a", "claim a NEW", "fail a", "claim a NEW",
        "fail a", "claim a UNAVAILABLE", "count down 3", "request a",
        "claim a NEW", "claim b BUSY", "confirm a", "count leased 1" } },

    { "down ones are not tried while one is up",
      { "add x", "add y", "down x", "claim a NEW", "is y tentative a",
        "claim b BUSY", "confirm a", "claim b BUSY", "fail a",
        "claim b NEW", "is x tentative b" } },

    { "a session tries its own, then the down ones, never its own again",
      { "add x", "add y", "claim a NEW", "confirm a", "down x", "down y",
        "request a", "claim a HIT", "fail a", "claim a MOVED",
        "is @a tentative a", "fail a", "claim a UNAVAILABLE",
        "count down 2" } },

    /* conflict */

    { "the instance serves another session",
      { "add x", "add y", "claim a NEW", "keep a old", "conflict a b",
        "is @old leased b", "lost old", "claim a NEW", "is @a tentative a",
        "claim b REBUILT", "is @old leased b", "claim b HIT", "back b",
        "is @old leased b", "claim c BUSY" } },

    { "it serves somebody",
      { "add x", "claim a NEW", "conflict a -", "is x leased -",
        "claim a BUSY", "claim b BUSY", "at 999", "is x leased -",
        "at 1000", "is x free" } },

    { "its owner is bound elsewhere: foreign",
      { "add x", "add y", "claim b NEW", "confirm b", "claim a NEW",
        "keep a old", "conflict a b", "is @old foreign b", "claim b HIT",
        "is @b leased b", "claim a BUSY", "at 1000", "is @old free" } },

    { "and its own once that lease is over",
      { "add x", "add y", "claim b NEW", "confirm b", "claim a NEW",
        "keep a old", "conflict a b", "is @old foreign b", "release b",
        "claim a BUSY", "claim b REBUILT", "is @old leased b",
        "claim b HIT", "release b", "is @old left" } },

    { "three owners at once, after a cold start",
      { "add x", "add y", "add z", "claim a NEW", "claim b NEW",
        "claim c NEW", "keep a one", "keep b two", "keep c three",
        "conflict a b", "is @one foreign b", "conflict b c",
        "is @two foreign c", "claim b REBUILT", "is @one leased b",
        "conflict c a", "is @three leased a", "claim c REBUILT",
        "is @two leased c", "claim a REBUILT" } },

    { "or once its own one has failed and none is free",
      { "add x", "add y", "claim b NEW", "confirm b", "keep b own",
        "claim a NEW", "keep a old", "conflict a b", "is @old foreign b",
        "fail b", "request b", "claim b HIT", "fail b", "claim b MOVED",
        "is @old leased b", "is @own down", "lost own", "claim b HIT",
        "at 100", "is @own free" } },

    { "of two such ones the one that said so last",
      { "add x", "add y", "add z", "claim b NEW", "claim a NEW",
        "claim c NEW", "keep a one", "keep c two", "conflict a b",
        "conflict c b", "is @one foreign b", "is @two foreign b", "back b",
        "claim b REBUILT", "is @two leased b", "is @one foreign b",
        "release b", "claim b REBUILT", "is @one leased b" } },

    { "one that is down, or whose lease has ended, is none",
      { "add x", "add y", "claim b NEW", "confirm b", "claim a NEW",
        "keep a old", "conflict a b", "release b", "down @old",
        "claim b UNAVAILABLE", "up @old", "claim b REBUILT", "release b",
        "at 100", "claim b NEW", "confirm b", "claim a NEW", "keep a old",
        "conflict a b", "release b", "now 1100", "claim b BUSY",
        "at 1100", "claim b NEW" } },

    { "a conflict on a confirmed lease",
      { "add x", "claim a NEW", "confirm a", "conflict a b", "is x leased b",
        "lost a", "claim a BUSY", "claim b REBUILT" } },

    { "its own session",
      { "add x", "claim a NEW", "keep a old", "conflict a a", "lost old",
        "is x leased a", "claim a REBUILT" } },

    { "a conflict shows that a down one is alive",
      { "add x", "claim a NEW", "confirm a", "fail a", "conflict a b",
        "is x leased b" } },

    /* health */

    { "without retry time only health brings it back",
      { "health x", "claim a NEW", "confirm a", "release a", "at 99999",
        "is x left", "claim a EMPTY", "up x", "is x free", "down x",
        "at 200000", "is x down", "up x", "claim a NEW", "confirm a",
        "fail a", "at 200900", "is x down a", "at 201000", "is x down -",
        "at 300000", "is x down -" } },

    { "nobody asks for health any more",
      { "health x", "health y", "claim a NEW", "release a", "down x",
        "down y", "at 500", "add x", "add y", "at 599", "count free 0",
        "at 600", "count free 2" } },

    { "a new member waits",
      { "add x", "await x", "is x left", "claim a EMPTY", "at 9999",
        "is x left", "claim a EMPTY", "learn x - 9999", "is x free",
        "claim a NEW", "await x", "is x tentative a" } },

    { "an instance tells its owner",
      { "add x", "add y", "at 10", "learn x a 9", "is x leased a",
        "claim a REBUILT", "claim b NEW", "is y tentative b",
        "claim a HIT", "at 1000", "is x leased a", "at 1010", "is x free" } },

    { "it is free",
      { "add x", "claim a NEW", "confirm a", "at 10", "learn x - 5",
        "is x free", "lost a", "claim b NEW" } },

    { "what it told before the last use counts for nothing",
      { "at 5", "add x", "claim a NEW", "confirm a", "at 10",
        "learn x - 5", "learn x b 5", "learn x b 4", "is x leased a",
        "touch a", "at 20", "learn x - 10", "is x leased a",
        "learn x - 11", "is x free" } },

    { "nor before the release",
      { "at 5", "add x", "claim a NEW", "confirm a", "at 8", "release a",
        "learn x a 8", "is x left", "learn x - 7", "is x left",
        "learn x - 9", "is x free" } },

    { "nor for a tentative one",
      { "add x", "claim a NEW", "at 10", "learn x - 9", "learn x b 9",
        "is x tentative a" } },

    { "it serves another one",
      { "add x", "claim a NEW", "confirm a", "at 10", "learn x b 9",
        "is x leased b", "lost a", "claim a BUSY", "claim b REBUILT" } },

    { "it tells what is known: its idle time goes on",
      { "add x", "claim a NEW", "confirm a", "at 900", "learn x a 899",
        "claim a HIT", "confirm a", "at 1800", "learn x a 1799", "at 1900",
        "is x free" } },

    { "it tells how long it keeps him",
      { "add x", "at 10", "learn x a 9 300", "at 309", "is x leased a",
        "at 310", "is x free" } },

    { "that it does so for longer, or not, as nobody here uses it",
      { "add x", "at 10", "learn x a 9 300", "at 200", "learn x a 199 5000",
        "at 5199", "is x leased a", "learn x a 5198 100", "at 5298",
        "is x leased a", "at 5299", "is x free" } },

    { "that it keeps him for longer than we do",
      { "add x", "claim a NEW", "confirm a", "at 10", "learn x a 9 300",
        "at 999", "is x leased a", "learn x a 998 500", "at 1498",
        "is x leased a", "at 1499", "is x free" } },

    { "the owner's next call counts again",
      { "add x", "at 10", "learn x a 9 300", "claim a REBUILT", "at 1009",
        "is x leased a", "at 1010", "is x free" } },

    { "a foreign one ends when it says so",
      { "add x", "add y", "claim a NEW", "confirm a", "keep a old",
        "fail a", "request a", "claim a MOVED", "confirm a", "at 10",
        "learn @old a 9 300", "is @old foreign a", "at 310",
        "is @old free" } },

    { "its owner has moved",
      { "add x", "add y", "claim a NEW", "confirm a", "keep a old",
        "fail a", "request a", "claim a MOVED", "confirm a", "at 10",
        "learn @old a 9", "is @old foreign a", "claim b BUSY",
        "claim a HIT", "at 20", "learn @old - 19", "is @old free",
        "claim b NEW", "claim a HIT" } },

    { "a foreign one is its own once the other lease is over",
      { "add x", "add y", "claim a NEW", "confirm a", "keep a old",
        "fail a", "request a", "claim a MOVED", "release a", "at 10",
        "learn @old a 9", "is @old leased a", "claim a REBUILT" } },

    { "one that was down is up, with its owner",
      { "add x", "claim a NEW", "confirm a", "down x", "is x down a",
        "at 10", "learn x a 9", "is x leased a", "claim a HIT" } },

    { "one that was down is up, and has forgotten him",
      { "add x", "claim a NEW", "confirm a", "down x", "at 10",
        "learn x - 9", "is x free" } },

    { "one that was down or left is up, with somebody",
      { "add x", "add y", "down x", "claim a NEW", "release a", "at 10",
        "learn x a 9", "learn y b 9", "is x leased a", "is y leased b",
        "claim b REBUILT" } },

    { "drained: health does not bring it back",
      { "add x", "claim a NEW", "confirm a", "drain x", "at 10",
        "learn x b 9", "is x draining b", "learn x - 11", "is x left",
        "at 20", "learn x c 19", "is x left" } },

    { "removed: it goes when it is free",
      { "add x", "claim a NEW", "confirm a", "remove x", "at 10",
        "learn x b 9", "is x leased b", "at 20", "learn x - 19",
        "is x unused" } },

    /* drain */

    { "drained: the owner stays, nobody else comes",
      { "add x", "claim a NEW", "confirm a", "drain x", "is x draining a",
        "claim a HIT", "claim b BUSY", "drain x", "undrain x",
        "is x leased a", "drain x", "at 1000", "is x left", "claim b EMPTY",
        "at 9999", "is x left", "down x", "up x", "is x left", "undrain x",
        "is x free" } },

    { "drain by two: each takes back its own",
      { "add x", "claim a NEW", "confirm a", "says x", "is x draining a",
        "claim a HIT", "claim b BUSY", "drain x", "unsays x",
        "is x draining a", "undrain x", "is x leased a", "drain x", "says x",
        "undrain x", "is x draining a", "release a", "is x left", "at 9999",
        "is x left", "up x", "is x left", "unsays x", "is x free" } },

    { "drain by its own word ends with the probes",
      { "health x", "says x", "is x left", "health x", "is x left", "add x",
        "is x free", "drain x", "health x", "says x", "add x", "is x left" } },

    { "drain of a free one",
      { "add x", "drain x", "is x left", "claim a EMPTY", "at 5000",
        "is x left", "undrain x", "is x free" } },

    { "drain of a tentative one",
      { "add x", "claim a NEW", "drain x", "is x tentative a", "confirm a",
        "is x draining a", "release a", "is x left", "at 5000",
        "is x left" } },

    { "drain of a tentative one that is given back",
      { "add x", "claim a NEW", "drain x", "back a", "is x left" } },

    { "drain of a tentative one that fails",
      { "add x", "claim a NEW", "drain x", "fail a", "is x left" } },

    { "drain of one that left",
      { "add x", "claim a NEW", "release a", "drain x", "at 5000",
        "is x left" } },

    { "drain of a down one",
      { "add x", "down x", "drain x", "is x left", "claim a EMPTY" } },

    { "drain of a down one with owner",
      { "add x", "claim a NEW", "confirm a", "fail a", "drain x",
        "is x down a", "at 100", "is x draining a", "fail a", "at 1000",
        "is x left" } },

    { "the owner leaves a drained one that failed",
      { "add x", "add y", "claim a NEW", "confirm a", "keep a old",
        "drain @a", "fail a", "request a", "claim a MOVED", "is @old left",
        "is @a tentative a" } },

    { "undrain while down",
      { "add x", "claim a NEW", "confirm a", "drain x", "fail a",
        "undrain x", "is x down a", "at 100", "is x leased a" } },

    { "undrain of one that left by itself",
      { "add x", "claim a NEW", "release a", "undrain x", "is x left" } },

    { "a conflict while draining",
      { "add x", "claim a NEW", "drain x", "conflict a b",
        "is x draining b", "claim b REBUILT" } },

    /* membership */

    { "removed when its lease has ended",
      { "add x", "claim a NEW", "confirm a", "remove x", "is x leased a",
        "claim a HIT", "at 1000", "is x unused", "claim a EMPTY" } },

    { "removed and back: nothing has happened",
      { "add x", "claim a NEW", "confirm a", "remove x", "add x",
        "is x leased a", "claim a HIT", "at 1000", "is x free" } },

    { "removed at once",
      { "add x", "claim a NEW", "confirm a", "force x", "is x unused",
        "lost a", "claim a EMPTY", "count unused 4" } },

    { "removed, then released, failed or given back",
      { "add x", "claim a NEW", "remove x", "is x tentative a", "back a",
        "is x unused", "add x", "claim a NEW", "remove x", "fail a",
        "is x unused", "add x", "claim a NEW", "remove x", "release a",
        "is x unused" } },

    { "removed and failed: gone when the owner moves",
      { "add x", "claim a NEW", "confirm a", "keep a old", "remove x",
        "fail a", "is x down a", "add y", "request a", "claim a MOVED",
        "is x unused", "is y tentative a" } },

    { "removed in every state without lease",
      { "add x", "remove x", "is x unused", "add x", "down x", "remove x",
        "is x unused", "add x", "claim a NEW", "release a", "remove x",
        "is x unused", "add x", "is x free" } },

    { "ended by the operator",
      { "add x", "claim a NEW", "confirm a", "end x", "is x free", "lost a",
        "end x", "is x free", "claim a NEW", "confirm a", "drain x",
        "end x", "is x left" } },

    { "ended while down",
      { "add x", "claim a NEW", "confirm a", "fail a", "end x",
        "is x down -", "at 100", "is x free" } },

    { "ended while removed",
      { "add x", "claim a NEW", "remove x", "end x", "is x unused" } },

    { "a record is used again",
      { "add x", "add y", "add z", "add w", "full v", "remove y", "add v",
        "full y", "is v free", "is y unused", "count free 4" } },
};


START_TEST(test_cases)
{
    int      i;
    world_t  world;

    world_create(&world, 4);

    for (i = 0; i < STEPS && cases[_i].steps[i] != NULL; i++) {
        mark_point();
        world_step(&world, cases[_i].steps[i]);
    }

    world_free(&world);
}
END_TEST


/*
 * What ms_state_change() lets through: n without owner, k with the one it has,
 * o with a new one.
 */
static const struct {
    const char  *steps[6];
    const char  *to[MS_INSTANCE_STATES];
} matrix[] = {
    /*        UNUSED FREE TENTATIVE LEASED DRAINING LEFT DOWN */
    { { "add x", "remove x" },
      { "", "n", "", "", "", "", "" } },
    { { "add x" },
      { "n", "", "o", "", "", "n", "n" } },
    { { "add x", "claim a NEW" },
      { "n", "n", "", "ko", "ko", "n", "n" } },
    { { "add x", "claim a NEW", "confirm a" },
      { "n", "n", "", "ko", "ko", "n", "nk" } },
    { { "add x", "claim a NEW", "drain x", "confirm a" },
      { "n", "", "", "ko", "ko", "n", "nk" } },
    { { "add x", "claim a NEW", "release a" },
      { "n", "n", "", "", "", "n", "n" } },
    { { "bound 9", "add x", "claim a NEW", "confirm a", "drain x", "at 9" },
      { "n", "n", "", "ko", "", "nk", "nk" } },
    { { "add x", "down x" },
      { "n", "n", "o", "", "", "n", "n" } },
    { { "add x", "claim a NEW", "confirm a", "fail a" },
      { "n", "n", "", "ko", "ko", "n", "nk" } },
};

#define ROWS  ((int) (sizeof(matrix) / sizeof(matrix[0])))


static void
matrix_cell(int row, int to, char kind)
{
    int                  i, legal;
    world_t              world;
    ms_owner_t           owner;
    const ms_owner_t    *given;
    ms_instance_info_t   before, after;

    world_create(&world, 4);

    for (i = 0; i < 6 && matrix[row].steps[i] != NULL; i++) {
        world_step(&world, matrix[row].steps[i]);
    }

    owner = (ms_owner_t) {
        .session = (const uint8_t *) "b",
        .len = 1,
        .hash = 7,
        .terms = &world_terms
    };
    given = kind == 'n' ? NULL : kind == 'k' ? &ms_owner_kept : &owner;
    legal = strchr(matrix[row].to[to], kind) != NULL;

    ms_pool_info(world.pool, 0, &before);
    ck_assert_int_eq(ms_state_change(world.pool, 0, (ms_instance_state_t) to,
                                     given),
                     legal ? 0 : -1);
    ms_pool_info(world.pool, 0, &after);
    ck_assert_uint_eq(ms_pool_alerts(world.pool), legal ? 0 : 1);

    if (legal) {
        ck_assert_int_eq((int) after.state, to);
        ck_assert_int_eq(after.lease != 0, kind != 'n');

    } else {
        ck_assert_mem_eq(&before, &after, sizeof(before));
        ck_assert_ptr_null(ms_pool_check(world.pool));
    }

    world_free(&world);
}


START_TEST(test_transitions)
{
    int  to;

    for (to = 0; to < MS_INSTANCE_STATES; to++) {
        matrix_cell(_i, to, 'n');
        matrix_cell(_i, to, 'k');
        matrix_cell(_i, to, 'o');
    }
}
END_TEST


START_TEST(test_transition_to_nothing)
{
    world_t  world;

    world_create(&world, 1);
    world_step(&world, "add x");
    ck_assert_int_eq(ms_state_change(world.pool, 0, MS_INSTANCE_STATES, NULL),
                     -1);
    ck_assert_uint_eq(ms_pool_alerts(world.pool), 1);
    world_free(&world);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("pool");

    tcase = tcase_create("cases");
    tcase_add_loop_test(tcase, test_cases, 0,
                        (int) (sizeof(cases) / sizeof(cases[0])));
    tcase_add_loop_test(tcase, test_transitions, 0, ROWS);
    tcase_add_test(tcase, test_transition_to_nothing);
    suite_add_tcase(suite, tcase);


    return harness_run_units(suite);
}
