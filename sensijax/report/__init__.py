"""The report of a campaign, or of an attack: one self-contained HTML file for those who decide, and for those who look
closer."""

from sensijax.report._attack_html import write_attack_report as write_attack_report
from sensijax.report._gallery import gallery as gallery
from sensijax.report._html import write_report as write_report
from sensijax.report._sensitivity_html import strongest_pairs as strongest_pairs
from sensijax.report._sensitivity_html import write_sensitivity_report as write_sensitivity_report
