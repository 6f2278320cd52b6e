"""What editors have said of records: which are one paper, and which stand apart

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'


def upgrade() -> None:
    op.create_table('source_answers',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('source_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(length=8), nullable=False),
    sa.Column('value', sa.String(length=64), nullable=False),
    sa.ForeignKeyConstraint(['source_id'], ['paper_sources.id'], name=op.f('fk_source_answers_source_id_paper_sources'),
                            ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_source_answers')),
    sa.UniqueConstraint('source_id', 'kind', 'value', name=op.f('uq_source_answers_source_id'))
    )
    op.create_index(op.f('ix_source_answers_value'), 'source_answers', ['value'], unique=False)


def downgrade() -> None:
    op.drop_table('source_answers')
