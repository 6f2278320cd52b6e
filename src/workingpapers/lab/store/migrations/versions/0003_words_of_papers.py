"""The words of papers: FTS5 with triggers on SQLite, a generated tsvector with a GIN index on PostgreSQL

Either way a paper can be found by its words from the moment it is committed, whoever wrote it.
A later migration that rebuilds `papers` in batch mode on SQLite loses the triggers and must call `triggers()` again.

Revision: 0003, after 0002
"""

import unicodedata

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'

COLUMNS = ('title', 'abstract', 'authors', 'plain_summary')


def triggers() -> None:
    """Keep the index of SQLite up to date; counters and trends of a paper change without touching it."""
    new, old = (', '.join(f'{side}.{c}' for c in COLUMNS) for side in ('new', 'old'))
    names = ', '.join(COLUMNS)
    add = f'INSERT INTO papers_fts (rowid, {names}) VALUES (new.id, {new});'
    remove = f"INSERT INTO papers_fts (papers_fts, rowid, {names}) VALUES ('delete', old.id, {old});"
    changed = ' OR '.join(f'new.{c} IS NOT old.{c}' for c in COLUMNS)
    op.execute(f'CREATE TRIGGER papers_fts_insert AFTER INSERT ON papers BEGIN {add} END')
    op.execute(f'CREATE TRIGGER papers_fts_delete AFTER DELETE ON papers BEGIN {remove} END')
    op.execute(f'CREATE TRIGGER papers_fts_update AFTER UPDATE OF {names} ON papers WHEN {changed} BEGIN {remove} {add} END')


def folding() -> tuple[str, str]:
    """Characters and what they become before PostgreSQL parts a text into words: letters lose accents, punctuation is a blank.

    Without it the parser would see paths, hosts and signed numbers in `and/or`, `i.e.` and `GPT-4`. Pairs of equal length,
    for `translate`, which unlike `unaccent` is there everywhere and may stand in a generated column.
    """
    taken, given = [], []
    for code in range(0xC0, 0x250):
        letter = chr(code)
        base = unicodedata.normalize('NFD', letter)[0]
        if base != letter and base.isascii():
            taken.append(letter)
            given.append(base)
    for mark in '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~–—‘’“”…•·×':
        taken.append(mark)
        given.append(' ')
    return ''.join(taken), ''.join(given)


def upgrade() -> None:
    op.create_index('ix_papers_search_rev', 'papers', ['id', 'search_rev'])
    op.create_index('ix_papers_hidden', 'papers', ['id'], sqlite_where=sa.text('hidden = 1'), postgresql_where=sa.text('hidden'))
    op.create_index('ix_paper_vectors_order', 'paper_vectors', ['model_id', 'id'])
    if op.get_bind().dialect.name == 'sqlite':
        op.execute("CREATE VIRTUAL TABLE papers_fts USING fts5(title, abstract, authors, plain_summary, content='papers', "
                   "content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')")
        op.execute("CREATE VIRTUAL TABLE papers_vocab USING fts5vocab('papers_fts', 'row')")
        triggers()
        op.execute("INSERT INTO papers_fts (papers_fts) VALUES ('rebuild')")
        return
    # As in SQLite's index, no word is too common to be asked for: authors are called Will and An.
    op.execute('CREATE TEXT SEARCH DICTIONARY papers_stem (TEMPLATE = snowball, LANGUAGE = english)')
    op.execute('CREATE TEXT SEARCH CONFIGURATION papers_words (COPY = simple)')
    op.execute('ALTER TEXT SEARCH CONFIGURATION papers_words ALTER MAPPING FOR asciiword, word WITH papers_stem')
    taken, given = ("'" + text.replace("'", "''") + "'" for text in folding())
    parts = [f"setweight(to_tsvector('papers_words', translate({text}, {taken}, {given})), '{weight}')"
             for text, weight in (('title', 'A'), ('authors::text', 'B'), ('abstract', 'C'), ("coalesce(plain_summary, '')", 'C'))]
    column = f"words tsvector GENERATED ALWAYS AS ({' || '.join(parts)}) STORED"
    op.get_bind().exec_driver_sql("ALTER TABLE papers ADD COLUMN " + column.replace('%', '%%'))
    op.create_index('ix_papers_words', 'papers', ['words'], postgresql_using='gin')


def downgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        for when in ('insert', 'delete', 'update'):
            op.execute(f'DROP TRIGGER papers_fts_{when}')
        op.execute('DROP TABLE papers_vocab')
        op.execute('DROP TABLE papers_fts')
    else:
        op.drop_index('ix_papers_words', 'papers')
        op.drop_column('papers', 'words')
        op.execute('DROP TEXT SEARCH CONFIGURATION papers_words')
        op.execute('DROP TEXT SEARCH DICTIONARY papers_stem')
    op.drop_index('ix_paper_vectors_order', table_name='paper_vectors')
    op.drop_index('ix_papers_hidden', table_name='papers')
    op.drop_index('ix_papers_search_rev', table_name='papers')
