"""Tables of the site: papers, people, mail, work

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    op.create_table('audit_log',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('actor', sa.String(length=60), nullable=False),
    sa.Column('action', sa.String(length=60), nullable=False),
    sa.Column('subject', sa.String(length=200), nullable=False),
    sa.Column('body', sa.JSON(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_log'))
    )
    op.create_table('jobs',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=40), nullable=False),
    sa.Column('payload', sa.JSON(), nullable=False),
    sa.Column('unique_key', sa.String(length=200), nullable=True),
    sa.Column('state', sa.String(length=8), nullable=False),
    sa.Column('run_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('lease_owner', sa.String(length=120), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('progress', sa.JSON(), nullable=False),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_jobs')),
    sa.UniqueConstraint('unique_key', name=op.f('uq_jobs_unique_key'))
    )
    op.create_index('ix_jobs_due', 'jobs', ['state', 'run_at', 'id'], unique=False)
    op.create_table('mail_links',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('purpose', sa.String(length=20), nullable=False),
    sa.Column('email', sa.String(length=254), nullable=False),
    sa.Column('browser_hash', sa.String(length=64), nullable=False),
    sa.Column('body', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mail_links')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_mail_links_token_hash'))
    )
    op.create_index(op.f('ix_mail_links_email'), 'mail_links', ['email'], unique=False)
    op.create_table('rate_counters',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('key', sa.String(length=200), nullable=False),
    sa.Column('window_start', sa.DateTime(timezone=True), nullable=False),
    sa.Column('count', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_rate_counters')),
    sa.UniqueConstraint('key', 'window_start', name=op.f('uq_rate_counters_key'))
    )
    op.create_table('suppressed_emails',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('email', sa.String(length=254), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_suppressed_emails')),
    sa.UniqueConstraint('email', name=op.f('uq_suppressed_emails_email'))
    )
    op.create_table('users',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('handle', sa.String(length=40), nullable=False),
    sa.Column('email', sa.String(length=254), nullable=True),
    sa.Column('display_name', sa.String(length=120), nullable=False),
    sa.Column('role', sa.String(length=10), nullable=False),
    sa.Column('tz', sa.String(length=60), nullable=False),
    sa.Column('settings', sa.JSON(), nullable=False),
    sa.Column('created_by', sa.String(length=60), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('email', name=op.f('uq_users_email')),
    sa.UniqueConstraint('handle', name=op.f('uq_users_handle'))
    )
    op.create_table('api_tokens',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=80), nullable=False),
    sa.Column('prefix', sa.String(length=12), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('scopes', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_used', sa.DateTime(timezone=True), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_api_tokens_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_tokens')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_api_tokens_token_hash'))
    )
    op.create_index(op.f('ix_api_tokens_user_id'), 'api_tokens', ['user_id'], unique=False)
    op.create_table('doubts',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=10), nullable=False),
    sa.Column('key', sa.String(length=64), nullable=False),
    sa.Column('first', sa.String(length=200), nullable=True),
    sa.Column('second', sa.String(length=200), nullable=True),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('body', sa.JSON(), nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('settled_by', sa.Integer(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['settled_by'], ['users.id'], name=op.f('fk_doubts_settled_by_users'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_doubts')),
    sa.UniqueConstraint('kind', 'key', name=op.f('uq_doubts_kind'))
    )
    op.create_index(op.f('ix_doubts_first'), 'doubts', ['first'], unique=False)
    op.create_index(op.f('ix_doubts_second'), 'doubts', ['second'], unique=False)
    op.create_index(op.f('ix_doubts_state'), 'doubts', ['state'], unique=False)
    op.create_table('imports',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('file_key', sa.String(length=64), nullable=False),
    sa.Column('format', sa.String(length=10), nullable=False),
    sa.Column('path', sa.Text(), nullable=False),
    sa.Column('offset', sa.BigInteger(), nullable=False),
    sa.Column('counts', sa.JSON(), nullable=False),
    sa.Column('is_done', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_imports')),
    sa.UniqueConstraint('file_key', name=op.f('uq_imports_file_key'))
    )
    op.create_table('papers',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('public_id', sa.String(length=200), nullable=False),
    sa.Column('slug', sa.String(length=80), nullable=True),
    sa.Column('arxiv_id', sa.String(length=40), nullable=True),
    sa.Column('doi', sa.String(length=500), nullable=True),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('title_key', sa.BigInteger(), nullable=False),
    sa.Column('abstract', sa.Text(), nullable=False),
    sa.Column('abstract_source', sa.String(length=10), nullable=True),
    sa.Column('authors', sa.JSON(), nullable=False),
    sa.Column('author_count', sa.Integer(), nullable=True),
    sa.Column('first_author_key', sa.String(length=200), nullable=False),
    sa.Column('published_on', sa.Date(), nullable=True),
    sa.Column('published_key', sa.String(length=10), nullable=False),
    sa.Column('updated_on', sa.Date(), nullable=True),
    sa.Column('listed_on', sa.Date(), nullable=True),
    sa.Column('categories', sa.JSON(), nullable=False),
    sa.Column('primary_category', sa.String(length=40), nullable=True),
    sa.Column('licence', sa.Text(), nullable=True),
    sa.Column('comment', sa.Text(), nullable=True),
    sa.Column('journal_ref', sa.Text(), nullable=True),
    sa.Column('venue', sa.Text(), nullable=True),
    sa.Column('plain_summary', sa.Text(), nullable=True),
    sa.Column('tasks', sa.JSON(), nullable=False),
    sa.Column('methods', sa.JSON(), nullable=False),
    sa.Column('tags', sa.JSON(), nullable=False),
    sa.Column('submitted_by', sa.Integer(), nullable=True),
    sa.Column('hidden', sa.Boolean(), nullable=False),
    sa.Column('withdrawn', sa.Boolean(), nullable=False),
    sa.Column('facts_hash', sa.String(length=32), nullable=False),
    sa.Column('search_rev', sa.Integer(), nullable=False),
    sa.Column('trend_log', sa.Double(), nullable=True),
    sa.Column('votes', sa.Integer(), nullable=False),
    sa.Column('comments', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['submitted_by'], ['users.id'], name=op.f('fk_papers_submitted_by_users'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_papers')),
    sa.UniqueConstraint('arxiv_id', name=op.f('uq_papers_arxiv_id')),
    sa.UniqueConstraint('public_id', name=op.f('uq_papers_public_id')),
    sa.UniqueConstraint('slug', name=op.f('uq_papers_slug'))
    )
    op.create_index('ix_papers_doi', 'papers', ['doi'], unique=False,
                    sqlite_where=sa.text('doi IS NOT NULL'), postgresql_where=sa.text('doi IS NOT NULL'))
    op.create_index('ix_papers_feed', 'papers', ['listed_on', 'published_key', 'public_id'], unique=False)
    op.create_index('ix_papers_first_author', 'papers', ['first_author_key', 'arxiv_id'], unique=False)
    op.create_index('ix_papers_published', 'papers', ['published_on', 'public_id'], unique=False)
    op.create_index('ix_papers_created', 'papers', ['created_at'], unique=False)
    op.create_index(op.f('ix_papers_title_key'), 'papers', ['title_key'], unique=False)
    op.create_index(op.f('ix_papers_submitted_by'), 'papers', ['submitted_by'], unique=False)
    op.create_index('ix_papers_trend', 'papers', ['trend_log', 'listed_on', 'public_id'], unique=False)
    op.create_table('signins',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('agent', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_seen', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_signins_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_signins')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_signins_token_hash'))
    )
    op.create_index(op.f('ix_signins_user_id'), 'signins', ['user_id'], unique=False)
    op.create_table('subscriptions',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('email', sa.String(length=254), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=True),
    sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('params', sa.JSON(), nullable=False),
    sa.Column('period', sa.String(length=8), nullable=False),
    sa.Column('send_at', sa.String(length=5), nullable=False),
    sa.Column('tz', sa.String(length=60), nullable=False),
    sa.Column('state', sa.String(length=8), nullable=False),
    sa.Column('token', sa.String(length=64), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('next_due', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('activated_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_subscriptions_user_id_users'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_subscriptions')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_subscriptions_token_hash'))
    )
    op.create_index('ix_subscriptions_due', 'subscriptions', ['state', 'next_due'], unique=False)
    op.create_index(op.f('ix_subscriptions_email'), 'subscriptions', ['email'], unique=False)
    op.create_index(op.f('ix_subscriptions_user_id'), 'subscriptions', ['user_id'], unique=False)
    op.create_table('authorships',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_authorships_paper_id_papers'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_authorships_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_authorships')),
    sa.UniqueConstraint('user_id', 'paper_id', name=op.f('uq_authorships_user_id'))
    )
    op.create_index(op.f('ix_authorships_paper_id'), 'authorships', ['paper_id'], unique=False)
    op.create_index('ix_authorships_state', 'authorships', ['state'], unique=False)
    op.create_table('comments',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=True),
    sa.Column('parent_id', sa.Integer(), nullable=True),
    sa.Column('markdown', sa.Text(), nullable=False),
    sa.Column('html', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('edited_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('deleted_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_comments_paper_id_papers'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['parent_id'], ['comments.id'], name=op.f('fk_comments_parent_id_comments'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_comments_user_id_users'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_comments'))
    )
    op.create_index(op.f('ix_comments_paper_id'), 'comments', ['paper_id'], unique=False)
    op.create_index(op.f('ix_comments_user_id'), 'comments', ['user_id'], unique=False)
    op.create_table('digests',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('subscription_id', sa.Integer(), nullable=False),
    sa.Column('period_key', sa.String(length=20), nullable=False),
    sa.Column('window_start', sa.DateTime(timezone=True), nullable=False),
    sa.Column('window_end', sa.DateTime(timezone=True), nullable=False),
    sa.Column('state', sa.String(length=8), nullable=False),
    sa.Column('message_id', sa.String(length=200), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('retry_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('error', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['subscription_id'], ['subscriptions.id'], name=op.f('fk_digests_subscription_id_subscriptions'),
                            ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_digests')),
    sa.UniqueConstraint('subscription_id', 'period_key', name=op.f('uq_digests_subscription_id'))
    )
    op.create_index('ix_digests_state', 'digests', ['state', 'retry_at'], unique=False)
    op.create_table('leaderboard_rows',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=True),
    sa.Column('task', sa.String(length=300), nullable=False),
    sa.Column('dataset', sa.String(length=300), nullable=False),
    sa.Column('metric', sa.String(length=300), nullable=False),
    sa.Column('model', sa.Text(), nullable=False),
    sa.Column('value', sa.String(length=100), nullable=False),
    sa.Column('source', sa.String(length=10), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_leaderboard_rows_paper_id_papers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_leaderboard_rows'))
    )
    op.create_index('ix_leaderboard_rows_board', 'leaderboard_rows', ['task', 'dataset', 'metric'], unique=False)
    op.create_index(op.f('ix_leaderboard_rows_paper_id'), 'leaderboard_rows', ['paper_id'], unique=False)
    op.create_table('paper_aliases',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('public_id', sa.String(length=200), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_paper_aliases_paper_id_papers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_paper_aliases')),
    sa.UniqueConstraint('public_id', name=op.f('uq_paper_aliases_public_id'))
    )
    op.create_index(op.f('ix_paper_aliases_paper_id'), 'paper_aliases', ['paper_id'], unique=False)
    op.create_table('paper_categories',
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('category', sa.String(length=40), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_paper_categories_paper_id_papers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('paper_id', 'category', name=op.f('pk_paper_categories')),
    sqlite_with_rowid=False
    )
    op.create_index(op.f('ix_paper_categories_category'), 'paper_categories', ['category'], unique=False)
    op.create_table('paper_links',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=10), nullable=False),
    sa.Column('url', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('official', sa.Boolean(), nullable=True),
    sa.Column('source', sa.String(length=10), nullable=True),
    sa.Column('added_by', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['added_by'], ['users.id'], name=op.f('fk_paper_links_added_by_users'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_paper_links_paper_id_papers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_paper_links')),
    sa.UniqueConstraint('paper_id', 'kind', 'url', name=op.f('uq_paper_links_paper_id'))
    )
    op.create_table('paper_signals',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('source', sa.String(length=10), nullable=False),
    sa.Column('name', sa.String(length=40), nullable=False),
    sa.Column('value', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_paper_signals_paper_id_papers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_paper_signals')),
    sa.UniqueConstraint('paper_id', 'source', 'name', name=op.f('uq_paper_signals_paper_id'))
    )
    op.create_table('paper_sources',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=True),
    sa.Column('source', sa.String(length=10), nullable=False),
    sa.Column('source_key', sa.String(length=500), nullable=False),
    sa.Column('fetched_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('packed', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_paper_sources_paper_id_papers'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_paper_sources')),
    sa.UniqueConstraint('source', 'source_key', name=op.f('uq_paper_sources_source'))
    )
    op.create_index(op.f('ix_paper_sources_paper_id'), 'paper_sources', ['paper_id'], unique=False)
    op.create_table('paper_vectors',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('model_id', sa.String(length=80), nullable=False),
    sa.Column('dim', sa.Integer(), nullable=False),
    sa.Column('search_rev', sa.Integer(), nullable=False),
    sa.Column('text_hash', sa.String(length=64), nullable=False),
    sa.Column('vector', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_paper_vectors_paper_id_papers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_paper_vectors')),
    sa.UniqueConstraint('paper_id', 'model_id', name=op.f('uq_paper_vectors_paper_id')),
    sqlite_autoincrement=True
    )
    op.create_table('paper_versions',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('date', sa.Date(), nullable=True),
    sa.Column('source', sa.String(length=10), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('abstract', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_paper_versions_paper_id_papers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_paper_versions')),
    sa.UniqueConstraint('paper_id', 'version', name=op.f('uq_paper_versions_paper_id'))
    )
    op.create_table('ratings',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('value', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_ratings_paper_id_papers'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_ratings_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ratings')),
    sa.UniqueConstraint('user_id', 'paper_id', name=op.f('uq_ratings_user_id'))
    )
    op.create_index(op.f('ix_ratings_paper_id'), 'ratings', ['paper_id'], unique=False)
    op.create_table('tags',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=60), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_tags_paper_id_papers'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_tags_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tags')),
    sa.UniqueConstraint('user_id', 'name', 'paper_id', name=op.f('uq_tags_user_id'))
    )
    op.create_index(op.f('ix_tags_paper_id'), 'tags', ['paper_id'], unique=False)
    op.create_table('trend_events',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('key', sa.String(length=120), nullable=False),
    sa.Column('weight', sa.Double(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_trend_events_paper_id_papers'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_trend_events')),
    sa.UniqueConstraint('paper_id', 'kind', 'key', name=op.f('uq_trend_events_paper_id'))
    )
    op.create_index('ix_trend_events_at', 'trend_events', ['at'], unique=False)
    op.create_table('votes',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('paper_id', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['paper_id'], ['papers.id'], name=op.f('fk_votes_paper_id_papers'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_votes_user_id_users'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_votes')),
    sa.UniqueConstraint('user_id', 'paper_id', name=op.f('uq_votes_user_id'))
    )
    op.create_index(op.f('ix_votes_paper_id'), 'votes', ['paper_id'], unique=False)
    op.create_table('source_keys',
    sa.Column('key', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('source_id', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['source_id'], ['paper_sources.id'], name=op.f('fk_source_keys_source_id_paper_sources'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('key', 'source_id', name=op.f('pk_source_keys')),
    sqlite_with_rowid=False
    )
    op.create_index(op.f('ix_source_keys_source_id'), 'source_keys', ['source_id'], unique=False)


def downgrade() -> None:
    op.drop_index(op.f('ix_source_keys_source_id'), table_name='source_keys')
    op.drop_table('source_keys')
    op.drop_index(op.f('ix_votes_paper_id'), table_name='votes')
    op.drop_table('votes')
    op.drop_index('ix_trend_events_at', table_name='trend_events')
    op.drop_table('trend_events')
    op.drop_index(op.f('ix_tags_paper_id'), table_name='tags')
    op.drop_table('tags')
    op.drop_index(op.f('ix_ratings_paper_id'), table_name='ratings')
    op.drop_table('ratings')
    op.drop_table('paper_versions')
    op.drop_table('paper_vectors')
    op.drop_index(op.f('ix_paper_sources_paper_id'), table_name='paper_sources')
    op.drop_table('paper_sources')
    op.drop_table('paper_signals')
    op.drop_table('paper_links')
    op.drop_index(op.f('ix_paper_categories_category'), table_name='paper_categories')
    op.drop_table('paper_categories')
    op.drop_index(op.f('ix_paper_aliases_paper_id'), table_name='paper_aliases')
    op.drop_table('paper_aliases')
    op.drop_index(op.f('ix_leaderboard_rows_paper_id'), table_name='leaderboard_rows')
    op.drop_index('ix_leaderboard_rows_board', table_name='leaderboard_rows')
    op.drop_table('leaderboard_rows')
    op.drop_index('ix_digests_state', table_name='digests')
    op.drop_table('digests')
    op.drop_index(op.f('ix_comments_user_id'), table_name='comments')
    op.drop_index(op.f('ix_comments_paper_id'), table_name='comments')
    op.drop_table('comments')
    op.drop_index('ix_authorships_state', table_name='authorships')
    op.drop_index(op.f('ix_authorships_paper_id'), table_name='authorships')
    op.drop_table('authorships')
    op.drop_index(op.f('ix_subscriptions_user_id'), table_name='subscriptions')
    op.drop_index(op.f('ix_subscriptions_email'), table_name='subscriptions')
    op.drop_index('ix_subscriptions_due', table_name='subscriptions')
    op.drop_table('subscriptions')
    op.drop_index(op.f('ix_signins_user_id'), table_name='signins')
    op.drop_table('signins')
    op.drop_index(op.f('ix_papers_submitted_by'), table_name='papers')
    op.drop_index('ix_papers_trend', table_name='papers')
    op.drop_index(op.f('ix_papers_title_key'), table_name='papers')
    op.drop_index('ix_papers_published', table_name='papers')
    op.drop_index('ix_papers_created', table_name='papers')
    op.drop_index('ix_papers_first_author', table_name='papers')
    op.drop_index('ix_papers_feed', table_name='papers')
    op.drop_index('ix_papers_doi', table_name='papers')
    op.drop_table('papers')
    op.drop_table('imports')
    op.drop_index(op.f('ix_doubts_state'), table_name='doubts')
    op.drop_index(op.f('ix_doubts_second'), table_name='doubts')
    op.drop_index(op.f('ix_doubts_first'), table_name='doubts')
    op.drop_table('doubts')
    op.drop_index(op.f('ix_api_tokens_user_id'), table_name='api_tokens')
    op.drop_table('api_tokens')
    op.drop_table('users')
    op.drop_table('suppressed_emails')
    op.drop_table('rate_counters')
    op.drop_index(op.f('ix_mail_links_email'), table_name='mail_links')
    op.drop_table('mail_links')
    op.drop_index('ix_jobs_due', table_name='jobs')
    op.drop_table('jobs')
    op.drop_table('audit_log')
