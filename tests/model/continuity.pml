/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * State continuity: commit, checkpoint, open, close and recovery, with a crash or a power cut between any two steps, and, with
 * -DADVERSARY, somebody who puts back any earlier disk, grafts rows, and removes or replaces the indices while the
 * manager is down, or runs a second manager on a copy of the disk.
 *
 * What is abstracted. A row is its number in the table `row`; what an extend index holds after row r has been extended into the
 * value that r recorded is called r, too; 0 is an index that holds nothing (never written, lost at a reset, or
 * removed); ALIEN is any value that no row leads to, or an index that is not ours. So an equality of hashes is an
 * equality of numbers, and what a MAC protects is what no transition of the adversary does: he cannot make a row. A journal is
 * an array, so that he can cut it and append any row that ever was of the right number, linked or not. A state is the row that
 * made it: a state contains a change if its row descends from the change's. Open and close rows have no randomness
 * in them: made twice of the same inputs, they are the same row.
 *
 * Every other row's content is unique, as a sealed state is. Many guests are one guest: a batch is one transaction and one extend.
 *
 * Claims, asserted where the manager begins to serve ("opened") and where it acknowledges:
 *	acknowledged by A	is in every state that is ever served afterwards. So is what a QEMU has saved, which is therefore the
				only state of its version: versions only grow from a state to those that contain it
 *	acknowledged by V	the same, unless the chip was really reset since; then the state says so (discontinuities)
 *	quarantine		only where somebody tampered
 *
 * Switches that break it, each with the name of the idea: ACK_EARLY, A_BEFORE_V, NO_LINK, RESET_OF_LAST, ONE_SUCCESSOR, REDO,
 * REUSE_OPEN, NO_INHERIT, RESEND_BLINDLY, NO_READ_BACK, DISK_FIRST, OUTLIVES. tests/model/run.sh demands a counterexample of each.
 *
 * "step NAME: FUNCTIONS" says what does that step; the functions' comments say "Model: NAME". tests/model/names.sh
 * holds the two together.
 */
#ifndef ROWS
#define ROWS 5
#endif
#ifndef RESETS
#define RESETS 2
#endif
#ifndef TRACE
#define ROWNO byte
#define ALIEN 255
#define TOLD(what, args)
#define TOLD_ROW
#define MORE_RESETS resets < RESETS
#else
/*
 * One run alone: that of a recorded trace (trace.h). Where the model does what the trace tells, the next event must be that one; what
 * happened just before a crash, or while the chip was reset, it need not have told. The claims are asserted all along.
 */
#define ROWNO short
#define ALIEN 32767
c_decl { \#include "trace.h" };
short t; /* events that are over */
bool accepted;
#define TOLD(what, args) if :: c_expr { (told_##what) args } -> t++ :: CUT fi;
#define TOLD_ROW \
	if \
	:: c_expr { (told_writing)(now.t, now.row[now.r].id, now.row[now.r].n, now.row[now.r].kind, now.row[now.r].reset, \
			now.row[now.row[now.r].parent].id, now.row[now.row[now.r].aprev].id, now.row[now.row[now.r].vprev].id) } -> \
		c_code { now.row[now.r].id = told_id(now.t); now.t++; } \
	:: CUT \
	fi; \
	if :: skip :: CUT fi;
#define CUT \
	c_expr { (told_crash)(now.t) } -> t++; \
	if :: skip :: MORE_RESETS -> power_cut() fi; \
	crash(); goto down
#define MORE_RESETS c_expr { now.resets < (told_resets)(now.t) }
#endif

#define GENESIS 1
#define OPEN 2
#define CLOSE 3
#define ANCHOR 4 /* what A must hold before it is acknowledged */
#define PLAIN 5	 /* what is acknowledged when V holds it */

typedef Row {
	ROWNO n;      /* its number in the journal */
	ROWNO parent; /* H(row before it) */
	byte kind;
	byte reset;   /* resetCount when it was made */
	ROWNO aprev, vprev; /* what the indices held then */
	byte disc;    /* discontinuities */
#ifdef TRACE
	short id;     /* which one it is in the trace */
#endif
};

Row row[ROWS + 1];
ROWNO rows;	    /* that were ever made */
ROWNO disk[ROWS + 1]; /* the journal, from 1 */
ROWNO last;
ROWNO a, v;	    /* the chip */
byte resets;
ROWNO know_a, know_v; /* what the manager has read there last */
ROWNO acked_a, acked_v; /* the newest row acknowledged by A, and by either */
byte acked_reset;   /* resetCount at the latter */
bool tampered;

/* The manager's; hidden where they mean nothing, so that they do not tell states apart. */
ROWNO r, i, j, k, x, base_a, base_v;
byte flagged, kind;
bool yes, verdict;

/* yes: a state of row `state` contains what row `what` changed. */
inline contains(state, what)
{
	x = state;
	do
	:: x == what || x == 0 -> break
	:: else -> x = row[x].parent
	od;
	yes = x == what;
	x = 0
}

/*
 * step make_row: row_make, count_discontinuities, batch_open, batch_mac, anchor_mac
 *
 * r = a row of this content on top of the disk's last one; an open or close row of the same inputs is the same row.
 */
inline make_row(thekind, thedisc)
{
	r = 0;
	if
	:: thekind == OPEN || thekind == CLOSE ->
		k = 1;
		do
		:: k > rows -> break
		:: k <= rows && row[k].kind == thekind && row[k].parent == disk[last] && row[k].reset == resets &&
		   row[k].aprev == know_a && row[k].vprev == know_v && row[k].disc == (thedisc) -> r = k; break
		:: else -> k++
		od;
		k = 0
	:: else
	fi;
	if
	:: r == 0 && rows < ROWS ->
		rows++;
		r = rows;
		row[r].n = last + 1;
		row[r].parent = disk[last];
		row[r].kind = thekind;
		row[r].reset = resets;
		row[r].aprev = know_a;
		row[r].vprev = know_v;
		row[r].disc = thedisc
	:: else
	fi
}

/* step write_row: batch_write, transaction. The store's transaction. */
inline write_row()
{
	last++;
	disk[last] = r
}

/*
 * step extend_v: batch_extend, anchor_extend, extend_op, extend_one
 * step extend_a: batch_extend, anchor_extend, extend_op, extend_one
 *
 * Read back: anything but the value that r leads to stops the manager.
 */
inline extend_v()
{
	if
	:: v == row[r].vprev -> v = r
	:: else -> v = ALIEN
	fi
}
inline extend_a()
{
	if
	:: a == row[r].aprev -> a = r
	:: else -> a = ALIEN
	fi
}

/* A step of the manager's is done. */
inline settle()
{
	r = 0; kind = 0; flagged = 0; yes = false; verdict = false
}

/* step crash: continuity_lost, batch_interrupt. Or the end of a process, which is no function of anybody's. */
inline crash()
{
	settle();
	know_a = 0; know_v = 0
}

inline power_cut()
{
	resets++;
	v = 0
}

#ifdef REUSE_OPEN
#define CAN_BE_USED row[disk[last]].vprev == v && row[disk[last]].aprev == a
#else
#define CAN_BE_USED true
#endif

/*
 * step decide: recovery_anchors, anchor_open, recovery_rows, anchor_check, take_row, recovery_end, recovery_decide, without_v, ends_with_ours,
 *	recovery_leaves; of one that comes to another chip check_record, on_reroot_record, on_last_row
 *
 * verdict, and flagged where power was lost. The base is always the disk's last row.
 */
inline decide()
{
	verdict = false;
	flagged = 0;
	know_a = a;
	know_v = v;
	i = 1;
	do
	:: i > last || (disk[i] == a && row[disk[i]].kind != PLAIN) -> break
	:: else -> i++
	od;
	j = 1;
	do
	:: j > last || disk[j] == v -> break
	:: else -> j++
	od;
	if
	:: last == 0 || a == 0 || a == ALIEN || i > last -> skip /* A is missing, not ours, or no row has its value */
	:: else ->
		verdict = true;
		/* every row from A's through the last */
		k = i + 1;
		do
		:: k > last -> break
		:: else ->
#ifndef NO_LINK
			if
			:: row[disk[k]].parent != disk[k - 1] -> verdict = false
			:: else
			fi;
#endif
			k++
		od;
		k = 0;
		if
		:: v == ALIEN || (v != 0 && j > last) -> verdict = false /* V is not ours, or no row has its value */
		:: v != 0 && j <= last ->
			if
			:: a == row[disk[j]].aprev || (row[disk[j]].kind != PLAIN && a == disk[j]) -> skip
			:: else -> verdict = false
			fi;
#ifdef ONE_SUCCESSOR
			if
			:: last > j + 1 -> verdict = false
			:: else
			fi
#endif
		:: v == 0 ->
#ifdef RESET_OF_LAST
			k = disk[last];
#else
			k = disk[i];
#endif
			if
			:: row[k].reset == resets -> verdict = false /* somebody removed V */
			:: row[k].reset != resets && (row[disk[i]].kind == CLOSE || row[disk[i]].kind == GENESIS) -> skip
			:: else -> flagged = 1 /* power was lost */
			fi;
#ifdef ONE_SUCCESSOR
			if
			:: last > i + 1 -> verdict = false
			:: else
			fi;
#endif
			k = 0
		fi
	fi;
	i = 0;
	j = 0
}

/* The disk as it was when row k had just been written to it; 0: an empty one. */
inline put_back()
{
	do
	:: last == 0 -> break
	:: else -> disk[last] = 0; last--
	od;
	last = (k == 0 -> 0 : row[k].n);
	i = last;
	do
	:: i == 0 -> break
	:: else -> disk[i] = k; k = row[k].parent; i--
	od
}

/* step opened: recovery_opened, batch_answer_written. What was promised until now, when a state that r made is about to be served. */
inline opened()
{
	contains(r, acked_a);
	assert(yes);
	contains(r, acked_v);
	assert(yes || acked_reset != resets);		    /* the chip was really reset since */
	assert(yes || row[r].disc > row[acked_v].disc);	    /* and the state says so */
	acked_a = r;
	acked_v = r;
	acked_reset = resets
}

/* step acknowledge: batch_done. What is acknowledged stands in one line with what was: before it or, if somebody went on from it, behind. */
inline acknowledge()
{
	contains(acked_a, r);
	if
	:: yes -> skip
	:: else ->
		contains(r, acked_v);
		assert(yes);
		acked_v = r;
		acked_reset = resets;
		if
		:: kind == ANCHOR -> acked_a = r
		:: else
		fi
	fi
}

#if defined(ADVERSARY) && defined(TWO)
/* Another manager on a copy of the disk, with or without r: if that passes recovery_decide it opens, commits and acknowledges. */
#define OR_ANOTHER \
	:: !tampered && rows + 2 <= ROWS -> d_step { another() } \
	:: !tampered && rows + 2 <= ROWS && r != 0 && disk[last] == r -> d_step { last--; another(); last++ }
inline another()
{
	base_a = know_a; base_v = know_v;
	decide();
	know_a = base_a; know_v = base_v;
	if
	:: verdict ->
		tampered = true;
		rows++;
		row[rows].n = last + 1; row[rows].parent = disk[last]; row[rows].kind = OPEN;
		row[rows].reset = resets; row[rows].aprev = a; row[rows].vprev = v;
		row[rows].disc = row[disk[last]].disc + flagged;
		rows++;
		row[rows].n = last + 2; row[rows].parent = rows - 1; row[rows].kind = ANCHOR;
		row[rows].reset = resets; row[rows].aprev = rows - 1; row[rows].vprev = rows - 1;
		row[rows].disc = row[rows - 1].disc;
		a = rows; v = rows;
		acked_a = rows; acked_v = rows; acked_reset = resets
	:: else
	fi;
	verdict = false; flagged = 0; base_a = 0; base_v = 0
}
#else
#define OR_ANOTHER
#endif

#ifdef OUTLIVES /* a keeper that its manager's end does not stop goes on with what it was asked for */
byte late, late_n; /* the row, and how many of its extends are done */
inline extend_late()
{
	if
	:: late_n == 0 && v == row[late].vprev -> v = late; late_n = 1
	:: late_n == 0 && v != row[late].vprev -> late = 0 /* it looks first */
	:: late_n == 1 && row[late].kind != PLAIN -> a = (a == row[late].aprev -> late : ALIEN); late = 0; late_n = 0
	:: else -> late = 0; late_n = 0
	fi
}
#define OR_LATE :: late != 0 -> d_step { extend_late() }
#define LEAVES_A_KEEPER :: r != 0 && disk[last] == r && v == row[r].vprev -> late = r; late_n = 0; crash(); goto down
#else
#define OR_LATE
#define LEAVES_A_KEEPER
#endif

/* What may happen between any two steps. */
#ifdef TRACE
#define MAY_DIE if :: skip :: CUT fi
#else
#define MAY_DIE \
	if \
	:: skip \
	:: crash(); goto down \
	:: resets < RESETS -> power_cut(); crash(); goto down \
	OR_ANOTHER \
	OR_LATE \
	LEAVES_A_KEEPER \
	fi
#endif

#ifdef NO_READ_BACK
#define STOP_UNLESS(what) if :: true fi
#else
#define STOP_UNLESS(what) if :: what :: else -> goto stopped fi
#endif

#ifdef RESEND_BLINDLY /* the chip has done its work, but the response is lost */
#define EXTEND(it) if :: d_step { it } :: d_step { it; it } fi
#else
#define EXTEND(it) d_step { it }
#endif

init
{
#ifdef TRACE
	c_code { trace_load(); };
#endif
/*
 * step provision: on_ca, on_anchors, anchor_new, define_both, genesis, on_mac, init_write; of a released store renew_anchors, anchor_renew, renew_op,
 *	on_renewed, write_it; of one that comes to another chip on_reroot_ca, on_reroot_anchors, begin_journal, reroot_genesis, on_reroot_mac,
 *	on_reroot_extended, reroot_write
 *
 * The chip first, then the disk. Begun anew after a crash: with a fresh nonce, explicitly.
 */
provision:
	skip;
	d_step { a = 0; v = 0; know_a = 0; know_v = 0; make_row(GENESIS, 0) }
	if
	:: r == 0 -> goto exhausted
	:: else
	fi;
#ifdef DISK_FIRST
	d_step { write_row() }
	if
	:: skip
	:: crash(); goto down
	fi;
#endif
	d_step { extend_v() }
	TOLD(v, (now.t, 1))
	if
	:: skip
#ifndef DISK_FIRST
	:: crash(); goto provision
#else
	:: crash(); goto down
#endif
	fi;
	d_step { extend_a() }
	TOLD(a, (now.t, 1))
#ifndef DISK_FIRST
	if
	:: skip
	:: crash(); goto provision
	fi;
	TOLD_ROW
	d_step { write_row() }
	TOLD(written, (now.t, now.row[now.r].id))
#endif
	d_step { acked_a = r; acked_v = r; acked_reset = resets; crash() }

down:
#ifdef TRACE
	if
	:: c_expr { (told_end)(now.t) } -> accepted = true; assert(!accepted)
	:: else
	fi;
#endif
	do
	:: break
	:: MORE_RESETS -> d_step { power_cut() }
	od;
#ifdef ADVERSARY
	if
	:: skip
	:: select (k : 0 .. rows); skip; d_step { put_back(); k = 0; tampered = true }
	fi;
	if
	:: skip
	:: last > 0 ->
		select (k : 1 .. rows);
		if
		:: row[k].n == last + 1 -> d_step { last++; disk[last] = k; k = 0; tampered = true }
		:: else -> k = 0
		fi
	fi;
	if
	:: skip
	:: d_step { v = 0; tampered = true }
	:: d_step { v = ALIEN; tampered = true }
	:: d_step { a = 0; tampered = true }
	:: d_step { a = ALIEN; tampered = true }
	fi;
#endif
	skip;

	d_step { decide() }
	TOLD(recovered, (now.t, now.resets, now.verdict, now.v != 0, now.flagged))
	if
	:: !verdict -> goto quarantined
	:: else
	fi;
#if defined(REDO) || defined(REUSE_OPEN)
	/* An open row that was interrupted is finished instead. */
	if
	:: row[disk[last]].kind == OPEN && disk[last] != a && CAN_BE_USED -> d_step { r = disk[last]; flagged = 0 };
	   goto finish_open
	:: else
	fi;
#endif
#ifdef NO_INHERIT
	d_step { make_row(OPEN, flagged) }
#else
	d_step { make_row(OPEN, row[disk[last]].disc + flagged) }
#endif
	if
	:: r == 0 -> goto exhausted
	:: else
	fi;
	MAY_DIE;
	TOLD_ROW
	d_step { write_row() }
	TOLD(written, (now.t, now.row[now.r].id))
#if defined(REDO) || defined(REUSE_OPEN)
finish_open:
#endif
	MAY_DIE;
	EXTEND(extend_v());
	STOP_UNLESS(v == r);
	know_v = r;
	TOLD(v, (now.t, now.row[now.r].id))
	MAY_DIE;
	EXTEND(extend_a());
	STOP_UNLESS(a == r);
	know_a = r;
	TOLD(a, (now.t, now.row[now.r].id))
	TOLD(acked, (now.t, now.row[now.r].id))
	TOLD(opened, (now.t, now.row[now.r].disc))
	d_step { opened(); settle() }

/* step serve: batch_form, kind_due */
serve:
	MAY_DIE;
	if
	:: kind = PLAIN
	:: kind = ANCHOR /* a change that must be anchored, or the checkpoint of those that were not */
	:: kind = CLOSE
	fi;
	d_step { make_row(kind, row[disk[last]].disc) }
	if
	:: r == 0 -> goto exhausted
	:: else
	fi;
	MAY_DIE;
	TOLD_ROW
	d_step { write_row() }
	TOLD(written, (now.t, now.row[now.r].id))
#ifdef ACK_EARLY
	d_step { acknowledge() }
#endif
#ifdef A_BEFORE_V
	if
	:: kind != PLAIN -> MAY_DIE; EXTEND(extend_a()); STOP_UNLESS(a == r); know_a = r
	:: else
	fi;
#endif
	MAY_DIE;
	EXTEND(extend_v());
	STOP_UNLESS(v == r);
	know_v = r;
	TOLD(v, (now.t, now.row[now.r].id))
#ifndef A_BEFORE_V
	if
	:: kind != PLAIN ->
		MAY_DIE;
		EXTEND(extend_a());
		STOP_UNLESS(a == r);
		know_a = r;
		TOLD(a, (now.t, now.row[now.r].id))
	:: else
	fi;
#endif
	TOLD(acked, (now.t, now.row[now.r].id))
	if
	:: kind == CLOSE -> d_step { opened(); crash() }; goto down
	:: else -> d_step { acknowledge(); settle() }; goto serve
	fi;

/* step stopped: foreign_value, on_extended */
stopped: /* the read-back shows what is not ours: nothing is acknowledged; the next start decides */
	assert(tampered);
	goto down;

/* step quarantined: quarantine */
quarantined: /* nothing is written and nothing is served */
	assert(tampered);
exhausted: /* of the rows that this run may make */
	skip
}
